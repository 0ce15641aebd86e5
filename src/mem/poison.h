/* Marks memory that nobody may touch, so that an AddressSanitizer build reports the first touch; nothing otherwise.
 * Depends on nothing. Safe from any thread, for memory that the thread owns. */
#ifndef RM_MEM_POISON_H
#define RM_MEM_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define RM_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RM_POISON 1
#endif
#endif

#ifdef RM_POISON
#include <sanitizer/asan_interface.h>
#define poison_mark(data, bytes) __asan_poison_memory_region((data), (bytes))
#define poison_clear(data, bytes) __asan_unpoison_memory_region((data), (bytes))
#else
#define poison_mark(data, bytes) ((void)(data), (void)(bytes))
#define poison_clear(data, bytes) ((void)(data), (void)(bytes))
#endif

#endif
