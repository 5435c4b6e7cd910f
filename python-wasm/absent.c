/* Functions that WASI's C library declares and lacks: who asks for a host or a service finds none. */

#include <netdb.h>
#include <stddef.h>

static int host_error = 1; /* HOST_NOT_FOUND */

int *__h_errno_location(void) {
    return &host_error;
}

struct hostent *gethostbyname(const char *name) {
    return NULL;
}

struct hostent *gethostbyaddr(const void *address, socklen_t size, int family) {
    return NULL;
}

struct servent *getservbyname(const char *name, const char *protocol) {
    return NULL;
}

struct servent *getservbyport(int port, const char *protocol) {
    return NULL;
}
