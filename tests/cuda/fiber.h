/* Fibers: stacks that one thread of the host changes between. For x86-64 a dozen instructions; elsewhere the C library's contexts,
 * which cost a system call a change. The address sanitizer is told about every change. */
#ifndef QLOOM_TEST_CUDA_FIBER_H
#define QLOOM_TEST_CUDA_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#include <ucontext.h>
#endif

struct fiber {
    const void *bottom; /* of its stack; of the thread's own stack: known after the first change */
    size_t size;
    void *fake; /* the sanitizer's */
#ifdef __x86_64__
    void *sp;
#else
    ucontext_t context;
#endif
};

#ifdef __x86_64__
/* Saves what a function has to preserve, changes the stack, and returns there. */
extern "C" void fiber_swap(void **save, void *load);
__asm__(".text\n"
        ".type fiber_swap, @function\n"
        ".hidden fiber_swap\n"
        "fiber_swap:\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n"
        "ret\n"
        ".size fiber_swap, .-fiber_swap\n");
#endif

/* `entry` never returns: it changes to another fiber when it is done. */
static inline void
fiber_make(fiber *f, void *stack, size_t size, void (*entry)(void))
{
    f->bottom = stack;
    f->size = size;
    f->fake = nullptr;
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(stack, size); /* what the last fiber here left */
#endif
#ifdef __x86_64__
    void **top = reinterpret_cast<void **>(static_cast<char *>(stack) + size) - 2; /* aligned as after a call */

    *top = reinterpret_cast<void *>(entry);
    f->sp = top - 6;
    for (int i = 1; i <= 6; i++)
        top[-i] = nullptr;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = size;
    f->context.uc_link = nullptr;
    makecontext(&f->context, entry, 0);
#endif
}

/* First thing on a fiber that has been changed to; `from`: where from. */
static inline void
fiber_arrived(fiber *self, fiber *from)
{
#ifdef FIBER_ASAN
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(self->fake, &bottom, &size);
    from->bottom = bottom;
    from->size = size;
#endif
    (void)self;
    (void)from;
}

/* `last`: `from` won't be changed to again. */
static inline void
fiber_change(fiber *from, fiber *to, bool last)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &from->fake, to->bottom, to->size);
#endif
    (void)last;
#ifdef __x86_64__
    fiber_swap(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
    fiber_arrived(from, to);
}

#endif
