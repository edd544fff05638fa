# The gateway as an image; `mt4-gateway sim` and the client commands are in it too.
#
#     docker build -t mt4-gateway .
#     docker run --read-only --cap-drop=ALL -e MT4GW_NATS__SERVERS=nats://... mt4-gateway
#
# The base is an argument, so that a release pins it by digest and a mirror serves as well:
#     --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# Only wheels are installed, each checked by its hash, so no compiler is needed anywhere.
FROM ${PYTHON_IMAGE} AS build
COPY requirements.lock /tmp/
# The pip of a new environment, and nothing else of it, stays behind in this stage.
RUN python3 -m venv /opt/mt4-gateway \
    && python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /opt/mt4-gateway/bin/python install --no-cache-dir \
        --require-hashes --only-binary=:all: -r /tmp/requirements.lock \
    && rm -rf /opt/mt4-gateway/lib/python3*/site-packages/pip* \
        /opt/mt4-gateway/lib/python3*/site-packages/setuptools* \
        /opt/mt4-gateway/bin/pip* /opt/mt4-gateway/bin/[Aa]ctivate*
COPY gateway /tmp/gateway
# The package is copied, not built: a build backend would be one more thing to trust.
RUN site=$(/opt/mt4-gateway/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && cp -r /tmp/gateway "$site/" \
    && /opt/mt4-gateway/bin/python -m compileall -q "$site/gateway" \
    && printf '#!/bin/sh\nexec /opt/mt4-gateway/bin/python -m gateway "$@"\n' \
        > /opt/mt4-gateway/bin/mt4-gateway \
    && chmod 755 /opt/mt4-gateway/bin/mt4-gateway

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mt4-gateway" \
    org.opencontainers.image.description="Connects one MetaTrader 4 terminal to NATS" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/mt4-gateway /opt/mt4-gateway
ENV PATH=/opt/mt4-gateway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MT4GW_HTTP__ADDRESS=0.0.0.0:9464
# By number, so that Kubernetes can see that it is not root; no such user need exist.
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464
STOPSIGNAL SIGTERM
# Alive, not ready: a gateway whose NATS is away must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MT4GW_HTTP__ADDRESS'].rpartition(':')[2] + '/healthz', timeout=2)"]
ENTRYPOINT ["mt4-gateway"]
CMD ["run"]
