// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: what libgmem(7) says about many memories: KVM waits whenever it deletes a
 * slot, but not when the VM ends.  Only ratios are judged.  Also those errors of gmem_create(3)
 * and gmem_bind(3) that come from KVM.  TAP.
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

/* The same pages, divided among @nr memories. */
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

/* How long a process that has all memories takes to end, in seconds. */
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

static void costs(void)
{
	double many, one = 1e9, end = 1e9, seconds;
	int i;

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
}

/* ---- Errors ---------------------------------------------------------------------- */

static int bind_at(uint32_t slot, uint64_t gpa)
{
	return gmem_bind(memory[0], slot, gpa, 0, PAGE);
}

/* In a child, which must not use the library: it says so, unless memory is short. */
static int create_in_child(void)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	check(sys(child), "fork");
	if (!child)
		_exit(-gmem_create(memories, PAGE, NULL, &memory[1]));
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : 0;
}

static void errors(void)
{
	struct kvm_userspace_memory_region region = {
		.slot = 7, .guest_phys_addr = BASE, .memory_size = PAGE,
	};
	struct gmem_map_opts taken = GMEM_INIT(struct gmem_map_opts);
	struct gmem_map_opts anonymous = GMEM_INIT(struct gmem_map_opts);
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *hva;

	check(page == MAP_FAILED ? -errno : 0, "mmap");
	region.userspace_addr = (uintptr_t)page;
	check(sys(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region)), "a slot of the caller's");
	check(gmem_create(memories, PAGE, NULL, &memory[0]), "gmem_create");
	taken.address = page;
	taken.mmap_flags = MAP_FIXED_NOREPLACE;
	result(gmem_map(memory[0], &taken, &hva) == -EEXIST, "map.address_that_is_taken_is_eexist");
	anonymous.mmap_flags = MAP_ANONYMOUS;
	result(gmem_map(memory[0], &anonymous, &hva) == -EINVAL, "map.without_the_file_is_einval");
	result(bind_at(1, BASE) == -EEXIST, "bind.address_of_a_slot_of_the_callers_is_eexist");
	result(bind_at(7, BASE + PAGE) == -EINVAL, "bind.number_of_a_slot_of_the_callers_is_einval");
	check(bind_at(1, BASE + PAGE), "gmem_bind");
	check(gmem_create(memories, PAGE, NULL, &memory[1]), "gmem_create");
	result(gmem_bind(memory[1], 1, BASE + 2 * PAGE, 0, PAGE) == -EEXIST,
	       "bind.number_of_another_binding_is_eexist");
	result(create_in_child() == -EIO, "create.in_a_child_is_eio");
	gmem_destroy(memory[0]);
	gmem_destroy(memory[1]);
	close(vm.fd);
	result(gmem_create(memories, PAGE, NULL, &memory[0]) == -EBADF, "create.of_a_closed_vm_is_ebadf");
}

int main(void)
{
	plan("slots", 9);
	make_vm();
	costs();
	errors();

	return exit_status();
}
