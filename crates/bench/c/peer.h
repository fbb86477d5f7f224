/* A library behind the face that c_peers.rs has for it. As in any program over these libraries,
 * what is ready is told by a callback. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum mode { LEVEL, EDGE, ONESHOT };

struct face {
    void (*version)(char *buffer, size_t size);
    void *(*make)(void);
    /* Everything that was added has been removed. */
    void (*destroy)(void *loop);
    void *(*add)(void *loop, int fd, size_t token, enum mode mode);
    void (*rearm)(void *watcher);
    void (*forget)(void *loop, void *watcher);
    /* Nanoseconds, or a negative number for no timeout. */
    void (*run)(void *loop, int64_t timeout, void (*each)(void *context, size_t token), void *context);
    /* Once for each loop. */
    void (*waker)(void *loop, size_t token);
    /* From any thread. */
    void (*wake)(void *loop);
};

/* Whom a callback of this thread's wait tells. */
static _Thread_local struct {
    void (*each)(void *context, size_t token);
    void *context;
} told;

static inline void tell(void *token)
{
    told.each(told.context, (size_t)token);
}

static inline void must(int works, const char *what)
{
    if (!works) {
        fprintf(stderr, "%s failed\n", what);
        abort();
    }
}

static inline void *room(size_t size)
{
    void *memory = malloc(size);
    must(memory != NULL, "malloc");
    return memory;
}
