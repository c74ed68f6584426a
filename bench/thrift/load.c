/* A client that is not the bottleneck: keeps one framed request in flight on each of its
 * connections for a time, and tells how many were answered and how long each took.
 *
 *     load PORT CONNECTIONS SECONDS FRAME
 *
 * FRAME is a file that holds one request, its length included. Written to standard output: calls,
 * seconds, and the 50th and 99th percentile of the latency in microseconds. Every answer must be as
 * long as the first one, or the client fails: an error would be fast. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 1 << 16, MOST_SAMPLES = 1 << 22 };

struct connection {
    int fd;
    size_t got;
    double sent;
    unsigned char in[LARGEST];
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int connections = atoi(argv[2]), epoll = epoll_create1(0);
    static unsigned char frame[LARGEST];
    FILE *file = fopen(argv[4], "rb");
    if (!file) fail(argv[4]);
    size_t length = fread(frame, 1, LARGEST, file), expected = 0;
    fclose(file);
    struct connection *all = calloc(connections, sizeof *all);
    float *latency = malloc(MOST_SAMPLES * sizeof *latency);
    for (int i = 0; i < connections; i++) {
        all[i].fd = dial(atoi(argv[1]));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    double began = now(), end = began + atof(argv[3]), at = began;
    for (int i = 0; i < connections; i++) {
        all[i].sent = now();
        if (send(all[i].fd, frame, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
    }
    size_t calls = 0;
    while (at < end) {
        struct epoll_event ready[64];
        int n = epoll_wait(epoll, ready, 64, 1000);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct connection *c = ready[i].data.ptr;
            ssize_t got = recv(c->fd, c->in + c->got, LARGEST - c->got, 0);
            if (got <= 0) fail("recv");
            c->got += got;
            if (c->got < 4) continue;
            size_t answer = 4 + ntohl(*(uint32_t *)c->in);
            if (c->got < answer) continue;
            if (!expected) expected = answer;
            if (answer != expected || c->got != answer) {
                fprintf(stderr, "an answer of %zu bytes, not %zu\n", answer, expected);
                return 1;
            }
            at = now();
            if (calls < MOST_SAMPLES) latency[calls] = (at - c->sent) * 1e6;
            calls++;
            c->got = 0;
            c->sent = at;
            if (send(c->fd, frame, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
        }
        if (n <= 0) at = now();
    }
    size_t kept = calls < MOST_SAMPLES ? calls : MOST_SAMPLES;
    if (!kept) return 1;
    qsort(latency, kept, sizeof *latency, ascending);
    printf("%zu %f %.1f %.1f\n", calls, at - began, latency[kept / 2], latency[kept * 99 / 100]);
    return 0;
}
