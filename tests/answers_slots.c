// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: what libgmem(7) says of many memories: KVM waits whenever it deletes a slot, and
 * not when the VM ends.  Only ratios are judged.  TAP.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../examples/vm.h"
#include "tap.h"

#define MANY	512u
#define BASE	0x1000000ul
#define TIMES	5

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *memory[MANY];

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void make_vm(void)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
}

/* The same pages in @nr memories. */
static void make(unsigned int nr)
{
	const uint64_t size = MANY / nr * PAGE;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		check(gmem_create(memories, size, NULL, &memory[i]), "gmem_create");
		check(gmem_bind(memory[i], 1 + i, BASE + i * size, 0, size), "gmem_bind");
	}
}

/* In seconds. */
static double destroy(unsigned int nr)
{
	double began = now();
	unsigned int i;

	for (i = 0; i < nr; i++)
		gmem_destroy(memory[i]);
	return now() - began;
}

/* How long a process takes to end that has all memories, in seconds. */
static double end_with_all(void)
{
	double began;
	int ends[2];
	pid_t child;
	char c;

	check(sys(pipe(ends)), "pipe");
	fflush(stdout);
	child = fork();
	check(sys(child), "fork");
	if (!child) {
		make_vm();
		make(MANY);
		check(write(ends[1], "m", 1) == 1 ? 0 : EPIPE, "write");
		for (;;)
			pause();
	}
	close(ends[1]);
	check(read(ends[0], &c, 1) == 1 ? 0 : EPIPE, "read");
	began = now();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return now() - began;
}

int main(void)
{
	double many, one = 1e9, end = 1e9, seconds;
	int i;

	plan("slots", 2);
	make_vm();
	make(MANY);
	many = destroy(MANY);
	for (i = 0; i < TIMES; i++) {
		make(1);
		seconds = destroy(1);
		if (seconds < one)
			one = seconds;
	}
	for (i = 0; i < TIMES; i++) {
		seconds = end_with_all();
		if (seconds < end)
			end = seconds;
	}
	printf("# destroying %u: %.1f ms; one as large: %.1f ms; ending with %u: %.1f ms\n", MANY,
	       many * 1e3, one * 1e3, MANY, end * 1e3);
	result(many > 20 * one, "many_small_memories_take_longer_than_one_large");
	result(many > 3 * end, "process_that_ends_does_not_wait_for_each");

	return exit_status();
}
