{{- define "mt4-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* 26 characters leave room for "-", a terminal's alias (32) and "-sim" in the 63 of a name. */}}
{{- define "mt4-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 26 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "mt4-gateway.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* Labels that select; they must never change. Call with (dict "root" $ "component" .. "terminal" ..). */}}
{{- define "mt4-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mt4-gateway.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with get . "component" }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- with get . "terminal" }}
mt4-gateway/terminal: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "mt4-gateway.labels" -}}
{{- $own := include "mt4-gateway.selectorLabels" . | fromYaml -}}
{{- $more := dict
  "app.kubernetes.io/part-of" "mt4-gateway"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own $more (deepCopy .root.Values.commonLabels)) -}}
{{- end }}

{{/* Metadata of an object: (dict "root" $ "name" .. and, if they apply, "component" "terminal" "namespace" "labels" "annotations"). */}}
{{- define "mt4-gateway.metadata" -}}
name: {{ .name | quote }}
namespace: {{ default (include "mt4-gateway.namespace" .root) (get . "namespace") | quote }}
labels:
  {{- $labels := include "mt4-gateway.labels" . | fromYaml }}
  {{- toYaml (merge $labels (deepCopy (default dict (get . "labels")))) | nindent 2 }}
{{- with merge (deepCopy (default dict (get . "annotations"))) (deepCopy .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mt4-gateway.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end }}

{{- define "mt4-gateway.serviceAccountName" -}}
{{- default (ternary (include "mt4-gateway.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end }}

{{/* The list of terminals, each with every key. JSON, because toYaml returns nothing where it fails. */}}
{{- define "mt4-gateway.terminals" -}}
{{- $defaults := dict "requestEndpoint" "" "tickEndpoint" "" "simulated" false "unencrypted" false "config" dict "secrets" list "networkCidr" "" "resources" dict "nodeSelector" dict "tolerations" list "podAnnotations" dict -}}
{{- $terminals := list -}}
{{- range .Values.terminals }}{{ $terminals = append $terminals (merge (deepCopy .) $defaults) }}{{ end -}}
{{- toJson $terminals -}}
{{- end }}

{{/* Where the commands go: (dict "root" $ "terminal" <entry>). */}}
{{- define "mt4-gateway.requestEndpoint" -}}
{{- if .terminal.requestEndpoint -}}
{{- .terminal.requestEndpoint -}}
{{- else -}}
tcp://{{ include "mt4-gateway.fullname" .root }}-{{ .terminal.name }}-sim:28282
{{- end -}}
{{- end }}

{{- define "mt4-gateway.tickEndpoint" -}}
{{- if .terminal.tickEndpoint -}}
{{- .terminal.tickEndpoint -}}
{{- else if and .terminal.simulated (not .terminal.requestEndpoint) -}}
tcp://{{ include "mt4-gateway.fullname" .root }}-{{ .terminal.name }}-sim:28283
{{- end -}}
{{- end }}

{{/* The terminal's configuration as a map: what is common, what is its own, what the chart decides. */}}
{{- define "mt4-gateway.config" -}}
{{- $config := mergeOverwrite (deepCopy .root.Values.config) (deepCopy .terminal.config) -}}
{{- $own := dict "name" .terminal.name "request_endpoint" (include "mt4-gateway.requestEndpoint" .) -}}
{{- with include "mt4-gateway.tickEndpoint" . }}{{ $_ := set $own "tick_endpoint" . }}{{ end -}}
{{- $_ := set $config "terminal" (mergeOverwrite (default dict (get $config "terminal")) $own) -}}
{{- toJson $config -}}
{{- end }}

{{/* ... and as TOML: a map of maps, such as `policy.clients`, is a table for each. */}}
{{- define "mt4-gateway.toml" -}}
{{- range $section, $keys := include "mt4-gateway.config" . | fromJson }}
[{{ $section }}]
{{- include "mt4-gateway.tomlKeys" $keys }}
{{- range $key, $tables := $keys }}
{{- if kindIs "map" $tables }}
{{- range $name, $table := $tables }}
[{{ $section }}.{{ $key }}.{{ $name }}]
{{- include "mt4-gateway.tomlKeys" $table }}
{{- end }}
{{- end }}
{{- end }}
{{ end -}}
{{- end }}

{{/* Strings, numbers, booleans and lists of JSON are TOML's too, but for DEL. */}}
{{- define "mt4-gateway.tomlKeys" -}}
{{- range $key, $value := . }}
{{- if not (or (kindIs "invalid" $value) (kindIs "map" $value)) }}
{{ $key }} = {{ toJson $value | replace "\u007f" "\\u007f" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The terminal's secrets win over the common ones for the same key; "secrets" stand for all. */}}
{{- define "mt4-gateway.secrets" -}}
{{- $byKey := dict -}}
{{- range default (concat .root.Values.secrets .terminal.secrets) (get . "secrets") }}{{ $_ := set $byKey .config . }}{{ end -}}
{{- toJson $byKey -}}
{{- end }}

{{- define "mt4-gateway.isFile" -}}
{{- if not (regexMatch "(password|token)$" .) }}yes{{ end -}}
{{- end }}

{{/* Turn nats.tls_ca into MT4GW_NATS__TLS_CA. */}}
{{- define "mt4-gateway.variable" -}}
MT4GW_{{ . | replace "." "__" | upper }}
{{- end }}

{{- define "mt4-gateway.podSecurityContext" -}}
{{- $adapt := .Values.adaptSecurityContext -}}
{{- $isOpenShift := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if or (eq $adapt "force") (and (eq $adapt "auto") $isOpenShift) -}}
{{- toYaml (omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") -}}
{{- else -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}
{{- end }}

{{/* A probe: (dict "probe" <values> "path" "/healthz"). */}}
{{- define "mt4-gateway.probe" -}}
{{- with .probe.handler -}}
{{- toYaml . }}
{{ else -}}
httpGet:
  path: {{ .path }}
  port: http
{{ end -}}
{{- toYaml (omit .probe "enabled" "handler") -}}
{{- end }}

{{/* "yes" where objects of the Prometheus Operator are to be made: (dict "root" $ "kind" "ServiceMonitor"). */}}
{{- define "mt4-gateway.hasOperator" -}}
{{- $mode := .root.Values.monitoring.renderMode -}}
{{- $known := .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) -}}
{{- if or $known (eq $mode "alwaysRender") -}}
yes
{{- else if eq $mode "failIfMissing" -}}
{{- fail (printf "monitoring: this cluster has no monitoring.coreos.com/v1 %s. Install the Prometheus Operator's CRDs, or set monitoring.renderMode to skipIfMissing." .kind) -}}
{{- end -}}
{{- end }}

{{/* Volumes, mounts and variables that a terminal's configuration and secrets need. */}}
{{- define "mt4-gateway.volumes" -}}
- name: config
  configMap:
    name: {{ printf "%s-%s" (include "mt4-gateway.fullname" .root) .terminal.name | quote }}
- name: tmp
  emptyDir: {}
{{- range $key, $secret := include "mt4-gateway.secrets" . | fromJson }}
{{- if include "mt4-gateway.isFile" $key }}
- name: {{ $key | replace "." "-" | replace "_" "-" }}
  secret:
    secretName: {{ $secret.secretName | quote }}
    defaultMode: 0440
    optional: false
    items:
      - key: {{ $secret.secretKey | quote }}
        path: {{ $secret.secretKey | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mt4-gateway.mounts" -}}
- name: config
  mountPath: /etc/mt4-gateway
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- range $key, $secret := include "mt4-gateway.secrets" . | fromJson }}
{{- if include "mt4-gateway.isFile" $key }}
- name: {{ $key | replace "." "-" | replace "_" "-" }}
  mountPath: /run/secrets/mt4-gateway/{{ $key }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{- define "mt4-gateway.env" -}}
- name: MT4GW_CONFIG
  value: /etc/mt4-gateway/gateway.toml
- name: MT4GW_HTTP__ADDRESS
  value: {{ printf "0.0.0.0:%v" .root.Values.httpPort | quote }}
{{- range $key, $secret := include "mt4-gateway.secrets" . | fromJson }}
- name: {{ include "mt4-gateway.variable" $key }}
{{- if include "mt4-gateway.isFile" $key }}
  value: {{ printf "/run/secrets/mt4-gateway/%s/%s" $key $secret.secretKey | quote }}
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.secretName | quote }}
      key: {{ $secret.secretKey | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What all pods of the chart share. */}}
{{- define "mt4-gateway.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "mt4-gateway.serviceAccountName" . | quote }}
securityContext:
  {{- include "mt4-gateway.podSecurityContext" . | nindent 2 }}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- if .Values.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mt4-gateway.container" -}}
image: {{ include "mt4-gateway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end }}

{{/* Where the pods of a terminal may run: (dict "root" $ "terminal" <entry>). */}}
{{- define "mt4-gateway.placement" -}}
{{- with mergeOverwrite (deepCopy .root.Values.nodeSelector) (deepCopy .terminal.nodeSelector) }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .root.Values.tolerations .terminal.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The port of the front door, where other pods reach it; empty for one that is closed. */}}
{{- define "mt4-gateway.doorPort" -}}
{{- $door := get (include "mt4-gateway.config" . | fromJson) "front_door" -}}
{{- include "mt4-gateway.boundPort" (default "" (get (default dict $door) "endpoint")) -}}
{{- end }}

{{/* The port of an endpoint that is bound (tcp://*:PORT); empty for one that connects. */}}
{{- define "mt4-gateway.boundPort" -}}
{{- if hasPrefix "tcp://*:" . }}{{ trimPrefix "tcp://*:" . }}{{ end -}}
{{- end }}
