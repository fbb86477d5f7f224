#include <event2/event.h>
#include <event2/thread.h>
#include <sys/time.h>

#include "peer.h"

struct loop {
    struct event_base *base;
    struct event *timer;
    struct event *wake;
};

static void on_ready(evutil_socket_t fd, short events, void *token)
{
    (void)fd;
    (void)events;
    tell(token);
}

static void on_timer(evutil_socket_t fd, short events, void *unused)
{
    (void)fd;
    (void)events;
    (void)unused;
}

static void version(char *buffer, size_t size)
{
    snprintf(buffer, size, "libevent %s", event_get_version());
}

static void *make(void)
{
    struct loop *loop = room(sizeof *loop);
    struct event_config *config = event_config_new();
    /* Without threads' locks no other thread may wake it. */
    must(evthread_use_pthreads() == 0, "evthread_use_pthreads");
    must(event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_O1) == 0, "epoll");
    loop->base = event_base_new_with_config(config);
    must(loop->base != NULL, "event_base_new");
    event_config_free(config);
    loop->timer = evtimer_new(loop->base, on_timer, NULL);
    must(loop->timer != NULL, "evtimer_new");
    loop->wake = NULL;
    return loop;
}

static void destroy(void *given)
{
    struct loop *loop = given;
    if (loop->wake)
        event_free(loop->wake);
    event_free(loop->timer);
    event_base_free(loop->base);
    free(loop);
}

static void *add(void *loop, int fd, size_t token, enum mode mode)
{
    static const short flags[] = {
        [LEVEL] = EV_READ | EV_PERSIST,
        [EDGE] = EV_READ | EV_PERSIST | EV_ET,
        [ONESHOT] = EV_READ,
    };
    struct event *event = event_new(((struct loop *)loop)->base, fd, flags[mode], on_ready, (void *)token);
    must(event != NULL && event_add(event, NULL) == 0, "event_add");
    return event;
}

static void rearm(void *watcher)
{
    must(event_add(watcher, NULL) == 0, "event_add");
}

static void forget(void *loop, void *watcher)
{
    (void)loop;
    event_free(watcher);
}

static void run(void *given, int64_t timeout, void (*each)(void *, size_t), void *context)
{
    struct loop *loop = given;
    told.each = each;
    told.context = context;
    if (timeout > 0) {
        struct timeval after = {timeout / 1000000000, timeout % 1000000000 / 1000};
        must(event_add(loop->timer, &after) == 0, "event_add");
    }
    /* A waker alone does not count as something to wait for. */
    event_base_loop(loop->base, (timeout == 0 ? EVLOOP_NONBLOCK : EVLOOP_ONCE) | EVLOOP_NO_EXIT_ON_EMPTY);
    if (timeout > 0)
        event_del(loop->timer);
}

static void waker(void *given, size_t token)
{
    struct loop *loop = given;
    loop->wake = event_new(loop->base, -1, 0, on_ready, (void *)token);
    must(loop->wake != NULL, "event_new");
}

static void wake(void *loop)
{
    event_active(((struct loop *)loop)->wake, EV_READ, 0);
}

const struct face libevent = {version, make, destroy, add, rearm, forget, run, waker, wake};
