/* The least a forwarder can do: ZeroMQ SUB in, NATS PUB out, one write a batch.
 *
 *     forwarder NATS_PORT TICK_PORT
 *
 * libzmq's few functions are declared here, so that no header need be installed: it is linked with
 * the library that pyzmq brings. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void *zmq_ctx_new(void);
void *zmq_socket(void *context, int type);
int zmq_setsockopt(void *socket, int option, const void *value, size_t length);
int zmq_connect(void *socket, const char *endpoint);
int zmq_recv(void *socket, void *buffer, size_t length, int flags);

enum { SUB = 2, SUBSCRIBE = 6, RCVHWM = 24, DONTWAIT = 1, BATCH_BYTES = 60000, LONGEST = 2000 };

static int nats_connect(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int nats = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(nats, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(nats, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("nats");
        exit(1);
    }
    const char *hello = "CONNECT {\"verbose\":false}\r\n";
    if (write(nats, hello, strlen(hello)) < 0) exit(1);
    return nats;
}

static void flush(int nats, const char *batch, size_t *length) {
    for (size_t sent = 0; sent < *length;) {
        ssize_t now = write(nats, batch + sent, *length - sent);
        if (now <= 0) exit(1);
        sent += (size_t)now;
    }
    *length = 0;
}

int main(int count, char **arguments) {
    static char batch[BATCH_BYTES + 2 * LONGEST];
    char topic[LONGEST], payload[LONGEST], endpoint[64];
    size_t length = 0;
    int unlimited = 0;
    if (count != 3) return 2;
    int nats = nats_connect(atoi(arguments[1]));
    void *ticks = zmq_socket(zmq_ctx_new(), SUB);
    zmq_setsockopt(ticks, RCVHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(ticks, SUBSCRIBE, "", 0);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%s", arguments[2]);
    if (zmq_connect(ticks, endpoint) != 0) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int named = zmq_recv(ticks, topic, sizeof topic, DONTWAIT);
        if (named < 0) {
            flush(nats, batch, &length);
            named = zmq_recv(ticks, topic, sizeof topic, 0);
        }
        int size = zmq_recv(ticks, payload, sizeof payload, 0);
        if (named <= 5 || named > LONGEST || size < 0 || size > LONGEST) continue;
        length += (size_t)snprintf(batch + length, LONGEST, "PUB floor.tick.%.*s %d\r\n",
                                   named - 5, topic + 5, size);
        memcpy(batch + length, payload, (size_t)size);
        length += (size_t)size;
        memcpy(batch + length, "\r\n", 2);
        length += 2;
        if (length > BATCH_BYTES) flush(nats, batch, &length);
    }
}
