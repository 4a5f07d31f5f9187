/* A mock engine that streams at a set pace, so cheap that a client is the bottleneck.
 *
 *     server INTERVAL_US spread|steps    prints its port, on 127.0.0.1; serves until it is killed
 *
 * GET /health /version /v1/models /stats; POST /v1/chat/completions /v1/completions. A POST is
 * answered by a stream of `max_tokens` tokens, whatever else it asks; "return_token_ids": true
 * gives each an id. Token i is due `start + i * INTERVAL_US`. With `spread`, `start` is less than an
 * interval after the request, by the golden ratio: streams are evenly apart, whatever the client's
 * own rhythm (left to that, 400 streams came 20 tokens to a wake-up; evenly apart, 2). With
 * `steps` all streams have their tokens at once, as an engine's decoding step gives them. Each event
 * is an HTTP chunk and a write of its own. /stats: tokens, how late they were written, and this
 * process' CPU seconds.
 *
 * A client asks again only after the end of a stream: what it sends before that may wait for ever.
 * One thread: epoll for sockets, a binary heap for what is due. It ends with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, READ = 65536, LARGEST_EVENT = 1024, CONNECTIONS = 65536 };

typedef struct {
    char *bytes;
    size_t length, room;
} Buffer;

typedef struct {
    int fd, in_heap; /* in_heap: 1 + the place in the heap; 0: no stream */
    Buffer in, out;  /* out: what the socket did not take yet */
    int chat, with_ids;
    long tokens, sent, id;
    long long start_ns, due_ns;
} Connection;

static int poller;
static long long interval_ns;
static int steps;
static Connection *heap[CONNECTIONS];
static int in_heap;
static struct {
    long streams, tokens;
    double late_ns, worst_ns;
} stats;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void append(Buffer *b, const char *bytes, size_t length) {
    if (b->length + length + 1 > b->room) {
        b->room = 2 * (b->length + length + 1);
        if (!(b->bytes = realloc(b->bytes, b->room))) die("realloc");
    }
    memcpy(b->bytes + b->length, bytes, length);
    b->length += length;
    b->bytes[b->length] = 0; /* so that it can be searched as text */
}

static void drop(Buffer *b, size_t length) {
    memmove(b->bytes, b->bytes + length, b->length - length + 1);
    b->length -= length;
}

/* ---- what is due: a heap by due_ns ---- */

static void put(int place, Connection *c) {
    heap[place] = c;
    c->in_heap = place + 1;
}

static void sift(int place) {
    Connection *c = heap[place];
    while (place && heap[(place - 1) / 2]->due_ns > c->due_ns) {
        put(place, heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (int child; (child = 2 * place + 1) < in_heap; place = child) {
        if (child + 1 < in_heap && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= c->due_ns) break;
        put(place, heap[child]);
    }
    put(place, c);
}

static void forget(Connection *c) {
    if (!c->in_heap) return;
    int place = c->in_heap - 1;
    c->in_heap = 0;
    if (place == --in_heap) return;
    heap[place] = heap[in_heap];
    sift(place);
}

/* ---- sockets ---- */

static void watch(Connection *c, int how, unsigned events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, how, c->fd, &e)) die("epoll_ctl");
}

/* Shut only: it is freed where epoll next reports it, when nothing here still holds it. */
static void hang_up(Connection *c) {
    forget(c);
    shutdown(c->fd, SHUT_RDWR);
}

static void send_bytes(Connection *c, const char *bytes, size_t length) {
    ssize_t taken = c->out.length ? 0 : write(c->fd, bytes, length);
    if (taken < 0 && errno != EAGAIN) {
        hang_up(c);
        return;
    }
    if (taken < 0) taken = 0;
    if ((size_t)taken == length) return;
    if (!c->out.length) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    append(&c->out, bytes + taken, length - taken);
}

static void send_rest(Connection *c) {
    ssize_t taken = write(c->fd, c->out.bytes, c->out.length);
    if (taken > 0) drop(&c->out, taken);
    if (!c->out.length) watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

/* ---- a stream ---- */

__attribute__((format(printf, 2, 3))) static void send_event(Connection *c, const char *form, ...) {
    char event[LARGEST_EVENT], chunk[LARGEST_EVENT + 16];
    va_list arguments;
    va_start(arguments, form);
    int length = vsnprintf(event, sizeof event, form, arguments);
    va_end(arguments);
    length = snprintf(chunk, sizeof chunk, "%x\r\ndata: %s\n\n\r\n", length + 8, event);
    send_bytes(c, chunk, length);
}

static const char *const OBJECTS[] = {"text_completion", "chat.completion.chunk"};
#define ABOUT "\"id\":\"%s-%016lx\",\"object\":\"%s\",\"created\":1700000000,\"model\":\"tiny-moe\""
#define ABOUT_OF(c) (c)->chat ? "chatcmpl" : "cmpl", (c)->id, OBJECTS[(c)->chat]

static long long first_due_ns(long id) {
    long long now = now_ns();
    if (steps) return now - now % interval_ns + interval_ns;
    double turn = id * 0.6180339887498949;
    return now + (long long)((turn - (long)turn) * interval_ns);
}

static void begin(Connection *c) {
    static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8"
                               "\r\ntransfer-encoding: chunked\r\n\r\n";
    c->id = ++stats.streams;
    c->sent = 0;
    c->start_ns = c->due_ns = first_due_ns(c->id);
    send_bytes(c, head, sizeof head - 1);
    if (c->chat)
        send_event(c, "{" ABOUT ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                      "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}", ABOUT_OF(c));
    put(in_heap++, c);
    sift(in_heap - 1);
}

static void end(Connection *c) {
    forget(c);
    send_event(c, "{" ABOUT ",\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":%ld,"
                  "\"completion_tokens\":%ld}}", ABOUT_OF(c), c->tokens + 8, c->tokens);
    send_event(c, "[DONE]");
    send_bytes(c, "0\r\n\r\n", 5);
}

static void send_token(Connection *c) {
    double late_ns = now_ns() - c->due_ns;
    stats.late_ns += late_ns;
    if (late_ns > stats.worst_ns) stats.worst_ns = late_ns;
    stats.tokens++;
    c->due_ns = c->start_ns + ++c->sent * interval_ns;
    const char *finish = c->sent == c->tokens ? "\"stop\"" : "null";
    const char *ids = c->with_ids ? "[123]" : "null";
    send_event(c, c->chat
        ? "{" ABOUT ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
          "\"logprobs\":null,\"finish_reason\":%s,\"token_ids\":%s}]}"
        : "{" ABOUT ",\"choices\":[{\"index\":0,\"text\":\" word\","
          "\"logprobs\":null,\"finish_reason\":%s,\"token_ids\":%s}]}", ABOUT_OF(c), finish, ids);
    if (!c->in_heap) return; /* the client has gone */
    if (c->sent == c->tokens)
        end(c);
    else
        sift(c->in_heap - 1);
}

static void send_due(void) {
    long long now = now_ns();
    while (in_heap && heap[0]->due_ns <= now) send_token(heap[0]);
}

/* ---- requests ---- */

static void answer(Connection *c, const char *status, const char *body) {
    char text[LARGEST_EVENT];
    int length = snprintf(text, sizeof text, "HTTP/1.1 %s\r\ncontent-type: application/json\r\n"
                          "content-length: %zu\r\n\r\n%s", status, strlen(body), body);
    send_bytes(c, text, length);
}

static void answer_stats(Connection *c) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = used.ru_utime.tv_sec + used.ru_stime.tv_sec
                 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    char body[LARGEST_EVENT / 2];
    snprintf(body, sizeof body, "{\"streams\":%ld,\"tokens\":%ld,\"mean_late_ms\":%.4f,"
             "\"worst_late_ms\":%.4f,\"cpu_s\":%.4f}", stats.streams, stats.tokens,
             stats.tokens ? stats.late_ns / stats.tokens / 1e6 : 0.0, stats.worst_ns / 1e6, cpu_s);
    answer(c, "200 OK", body);
}

static const char *value_of(const char *body, const char *key) {
    const char *at = strstr(body, key);
    return at ? at + strlen(key) + strspn(at + strlen(key), ": ") : NULL;
}

static void answer_post(Connection *c, const char *body) {
    const char *tokens = value_of(body, "\"max_tokens\"");
    const char *ids = value_of(body, "\"return_token_ids\"");
    c->chat = !strncmp(c->in.bytes, "POST /v1/chat/completions ", 26);
    c->tokens = tokens ? strtol(tokens, NULL, 10) : 0;
    c->with_ids = ids && !strncmp(ids, "true", 4);
    if (!c->chat && strncmp(c->in.bytes, "POST /v1/completions ", 21))
        answer(c, "404 Not Found", "{\"error\":{\"message\":\"no such path\"}}");
    else if (c->tokens < 1)
        answer(c, "400 Bad Request", "{\"error\":{\"message\":\"max_tokens: must be 1 or more\"}}");
    else
        begin(c);
}

static void answer_one(Connection *c, const char *body) {
    const char *head = c->in.bytes;
    if (!strncmp(head, "POST ", 5))
        answer_post(c, body);
    else if (!strncmp(head, "GET /stats ", 11))
        answer_stats(c);
    else if (!strncmp(head, "GET /version ", 13))
        answer(c, "200 OK", "{\"version\":\"0.32.0\"}");
    else if (!strncmp(head, "GET /health ", 12))
        answer(c, "200 OK", "");
    else if (!strncmp(head, "GET /v1/models ", 15))
        answer(c, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"tiny-moe\",\"object\":\"model\","
               "\"created\":1700000000,\"owned_by\":\"vllm\",\"max_model_len\":32768}]}");
    else
        answer(c, "404 Not Found", "{\"error\":{\"message\":\"no such path\"}}");
}

/* A body is as long as content-length says; one in chunks, which no client sends, is hung up on. */
static void answer_whole(Connection *c) {
    while (!c->in_heap && c->in.length) {
        char *end_of_head = strstr(c->in.bytes, "\r\n\r\n");
        if (!end_of_head) return;
        *end_of_head = 0;
        const char *length = strcasestr(c->in.bytes, "\r\ncontent-length:");
        int chunked = strcasestr(c->in.bytes, "\r\ntransfer-encoding:") != NULL;
        *end_of_head = '\r';
        if (chunked) return hang_up(c);
        size_t body = length ? strtoul(length + 17, NULL, 10) : 0;
        size_t whole = end_of_head + 4 - c->in.bytes + body;
        if (c->in.length < whole) return;
        char after = c->in.bytes[whole];
        c->in.bytes[whole] = 0;
        answer_one(c, end_of_head + 4);
        c->in.bytes[whole] = after;
        drop(&c->in, whole);
    }
}

static void read_some(Connection *c) {
    static char bytes[READ];
    ssize_t got = read(c->fd, bytes, READ);
    if (got > 0) {
        append(&c->in, bytes, got);
        answer_whole(c);
    } else if (got == 0 || errno != EAGAIN) {
        forget(c);
        close(c->fd);
        free(c->in.bytes);
        free(c->out.bytes);
        free(c);
    }
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = calloc(1, sizeof *c);
        if (!c || fd >= CONNECTIONS) die("accept");
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listening(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (void *)&at, size) || listen(listener, 4096)) die("listen");
    if (getsockname(listener, (void *)&at, &size)) die("getsockname");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return listener;
}

static void wait_and_serve(int listener) {
    struct epoll_event events[EVENTS];
    long long rest = in_heap ? heap[0]->due_ns - now_ns() : 1000000000LL;
    struct timespec until = {rest > 0 ? rest / 1000000000LL : 0, rest > 0 ? rest % 1000000000LL : 0};
    int count = epoll_pwait2(poller, events, EVENTS, &until, NULL);
    if (count < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < count; i++) {
        Connection *c = events[i].data.ptr;
        if (!c)
            accept_all(listener);
        else {
            if (events[i].events & EPOLLOUT) send_rest(c);
            if (events[i].events & ~EPOLLOUT) read_some(c);
        }
    }
    send_due();
}

int main(int count, char **arguments) {
    if (count != 3) return fprintf(stderr, "usage: server INTERVAL_US spread|steps\n"), 2;
    steps = !strcmp(arguments[2], "steps");
    interval_ns = 1000 * atoll(arguments[1]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    poller = epoll_create1(0);
    int listener = listening();
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e)) die("epoll_ctl");
    for (;;) wait_and_serve(listener);
}
