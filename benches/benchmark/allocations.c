/* Counts allocations of a process that it is preloaded into (LD_PRELOAD), by the place in the binary that asked for them, and
 * writes them when the process ends. A line is
 *
 *     place allocations bytes
 *
 * with the place as the address that the binary's symbols have, in hexadecimal, and 0 for calls from shared libraries, which
 * is glibc itself. malloc, calloc, realloc (as one), aligned_alloc, memalign and posix_memalign count.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Several times as many as there are places in a binary of ours; the last one takes what would not fit. */
#define PLACES (1 << 16)

static struct {
    atomic_uintptr_t address;
    atomic_ullong allocations, bytes;
} places[PLACES];

static uintptr_t binary_begin, binary_end;

static void count(const void *caller, size_t bytes) {
    uintptr_t address = (uintptr_t)caller;
    address = address >= binary_begin && address < binary_end ? address - binary_begin : 1;
    size_t place = (address * 0x9e3779b97f4a7c15u) >> 48;
    while (place < PLACES - 1) {
        uintptr_t seen = atomic_load_explicit(&places[place].address, memory_order_relaxed);
        if (seen == address) break;
        if (seen == 0 && atomic_compare_exchange_strong(&places[place].address, &seen, address)) break;
        if (seen == address) break;
        place++;
    }
    atomic_fetch_add_explicit(&places[place].allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&places[place].bytes, bytes, memory_order_relaxed);
}

void *malloc(size_t size) {
    count(__builtin_return_address(0), size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(__builtin_return_address(0), number * size);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count(__builtin_return_address(0), size);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(__builtin_return_address(0), size);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    count(__builtin_return_address(0), size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    count(__builtin_return_address(0), size);
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : ENOMEM;
}

/* The first object is the binary itself. */
static int first_object(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    binary_begin = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && end > binary_end) binary_end = end;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void) { dl_iterate_phdr(first_object, NULL); }

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("ALLOCATIONS_FILE");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    for (size_t place = 0; place < PLACES; place++) {
        unsigned long long allocations = atomic_load(&places[place].allocations);
        uintptr_t address = atomic_load(&places[place].address);
        if (allocations) fprintf(file, "%lx %llu %llu\n", address > 1 ? (unsigned long)address : 0, allocations, atomic_load(&places[place].bytes));
    }
    fclose(file);
}
