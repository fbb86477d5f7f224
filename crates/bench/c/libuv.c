#include <uv.h>

#include "peer.h"

struct loop {
    uv_loop_t uv;
    uv_timer_t timer;
    uv_async_t async;
};

static void on_ready(uv_poll_t *handle, int status, int events)
{
    if (status < 0 || events & UV_READABLE)
        tell(handle->data);
}

/* One that is due before the loop has begun to poll must not leave it to wait for ever. */
static void on_timer(uv_timer_t *handle)
{
    uv_stop(handle->loop);
}

static void on_wake(uv_async_t *handle)
{
    tell(handle->data);
}

static void release(uv_handle_t *handle)
{
    free(handle);
}

static void end(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void version(char *buffer, size_t size)
{
    snprintf(buffer, size, "libuv %s", uv_version_string());
}

static void *make(void)
{
    struct loop *loop = room(sizeof *loop);
    must(uv_loop_init(&loop->uv) == 0, "uv_loop_init");
    must(uv_timer_init(&loop->uv, &loop->timer) == 0, "uv_timer_init");
    return loop;
}

static void destroy(void *given)
{
    struct loop *loop = given;
    uv_walk(&loop->uv, end, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop->uv) == 0, "uv_loop_close");
    free(loop);
}

static void *add(void *loop, int fd, size_t token, enum mode mode)
{
    uv_poll_t *handle = room(sizeof *handle);
    must(mode == LEVEL, "any mode but level");
    must(uv_poll_init(&((struct loop *)loop)->uv, handle, fd) == 0, "uv_poll_init");
    handle->data = (void *)token;
    must(uv_poll_start(handle, UV_READABLE, on_ready) == 0, "uv_poll_start");
    return handle;
}

static void rearm(void *watcher)
{
    (void)watcher;
    must(0, "one-shot");
}

static void forget(void *loop, void *watcher)
{
    (void)loop;
    uv_poll_stop(watcher);
    uv_close(watcher, release);
}

static void run(void *given, int64_t timeout, void (*each)(void *, size_t), void *context)
{
    struct loop *loop = given;
    told.each = each;
    told.context = context;
    if (timeout > 0) {
        uv_update_time(&loop->uv);
        uv_timer_start(&loop->timer, on_timer, (timeout + 999999) / 1000000, 0);
    }
    uv_run(&loop->uv, timeout == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    if (timeout > 0)
        uv_timer_stop(&loop->timer);
}

static void waker(void *given, size_t token)
{
    struct loop *loop = given;
    must(uv_async_init(&loop->uv, &loop->async, on_wake) == 0, "uv_async_init");
    loop->async.data = (void *)token;
}

static void wake(void *loop)
{
    must(uv_async_send(&((struct loop *)loop)->async) == 0, "uv_async_send");
}

const struct face libuv = {version, make, destroy, add, rearm, forget, run, waker, wake};
