#include <ev.h>

#include "peer.h"

struct loop {
    struct ev_loop *ev;
    ev_timer timer;
    ev_async async;
};

static void on_ready(EV_P_ ev_io *watcher, int events)
{
    (void)EV_A;
    (void)events;
    tell(watcher->data);
}

static void on_timer(EV_P_ ev_timer *watcher, int events)
{
    (void)EV_A;
    (void)watcher;
    (void)events;
}

static void on_wake(EV_P_ ev_async *watcher, int events)
{
    (void)EV_A;
    (void)events;
    tell(watcher->data);
}

static void version(char *buffer, size_t size)
{
    snprintf(buffer, size, "libev %d.%d", ev_version_major(), ev_version_minor());
}

static void *make(void)
{
    struct loop *loop = room(sizeof *loop);
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    must(loop->ev != NULL, "ev_loop_new");
    ev_timer_init(&loop->timer, on_timer, 0, 0);
    ev_async_init(&loop->async, on_wake);
    return loop;
}

static void destroy(void *given)
{
    struct loop *loop = given;
    ev_async_stop(loop->ev, &loop->async);
    ev_loop_destroy(loop->ev);
    free(loop);
}

static void *add(void *loop, int fd, size_t token, enum mode mode)
{
    ev_io *watcher = room(sizeof *watcher);
    must(mode == LEVEL, "any mode but level");
    ev_io_init(watcher, on_ready, fd, EV_READ);
    watcher->data = (void *)token;
    ev_io_start(((struct loop *)loop)->ev, watcher);
    return watcher;
}

static void rearm(void *watcher)
{
    (void)watcher;
    must(0, "one-shot");
}

static void forget(void *loop, void *watcher)
{
    ev_io_stop(((struct loop *)loop)->ev, watcher);
    free(watcher);
}

static void run(void *given, int64_t timeout, void (*each)(void *, size_t), void *context)
{
    struct loop *loop = given;
    told.each = each;
    told.context = context;
    if (timeout > 0) {
        ev_now_update(loop->ev);
        ev_timer_set(&loop->timer, timeout / 1e9, 0);
        ev_timer_start(loop->ev, &loop->timer);
    }
    ev_run(loop->ev, timeout == 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
    ev_timer_stop(loop->ev, &loop->timer);
}

static void waker(void *given, size_t token)
{
    struct loop *loop = given;
    loop->async.data = (void *)token;
    ev_async_start(loop->ev, &loop->async);
}

static void wake(void *given)
{
    struct loop *loop = given;
    ev_async_send(loop->ev, &loop->async);
}

const struct face libev = {version, make, destroy, add, rearm, forget, run, waker, wake};
