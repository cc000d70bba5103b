// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem demo: a real guest on a guest_memfd that is converted in place.  Each
 * line is a thing that was done and what was then read; anything that differs
 * from what the interface promises is marked and makes the command fail.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "gmem.h"

#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
#define NONE		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE
#define NONE_BYTE	0xab

#define PAGES		8
#define DATA_SLOT	1
#define SIGBUS_READ	-1

static int nr_wrong;

static const char *show(int value)
{
	static char text[4][16];
	static int next;
	char *to = text[next++ % 4];

	if (value == SIGBUS_READ)
		return "SIGBUS";
	if (value == MIXED)
		return "mixed bytes";
	snprintf(to, sizeof(text[0]), value > ' ' && value < 0x7f ? "'%c'" : "0x%02x", value);
	return to;
}

/* One line of the story: what was done, what it led to, what was promised. */
static void tell(const char *what, int seen, int promised)
{
	bool wrong = seen != promised;

	printf("  %-58s %-10s", what, show(seen));
	if (wrong)
		printf(" WRONG, promised %s", show(promised));
	putchar('\n');
	nr_wrong += wrong;
}

static void tell_call(const char *what, int seen, int promised)
{
	bool wrong = seen != promised;

	printf("  %-58s %-10s", what, seen ? strerror(-seen) : "done");
	if (wrong)
		printf(" WRONG, promised %s", promised ? strerror(-promised) : "success");
	putchar('\n');
	nr_wrong += wrong;
}

static sigjmp_buf on_sigbus;

static void handle_sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

static int try_host_read(const void *page)
{
	struct sigaction old, new = { .sa_handler = handle_sigbus };
	volatile int seen = SIGBUS_READ;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(on_sigbus, 1))
		seen = host_read(page);
	sigaction(SIGBUS, &old, NULL);

	return seen;
}

static int promised(uint64_t policy, int before)
{
	return policy == ZERO ? 0 : policy == NONE ? NONE_BYTE : before;
}

static void policy_story(struct vm *vm, int fd, uint8_t *mem, uint64_t policy)
{
	char line[80];

	printf("\nPolicy %s, page 1\n", policy_name(policy));
	memset(mem + PAGE, 'H', PAGE);
	tell("host writes 'H', guest reads", guest_read(vm, 1), 'H');

	snprintf(line, sizeof(line), "convert to private, %s", policy_name(policy));
	tell_call(line, convert(fd, PAGE, PAGE, true, policy, NULL), 0);
	tell("host reads", try_host_read(mem + PAGE), SIGBUS_READ);
	tell("guest reads", guest_read(vm, 1), promised(policy, 'H'));

	guest_write(vm, 1, 'G');
	tell("guest writes 'G', guest reads", guest_read(vm, 1), 'G');
	snprintf(line, sizeof(line), "convert to shared, %s", policy_name(policy));
	tell_call(line, convert(fd, PAGE, PAGE, false, policy, NULL), 0);
	tell("host reads", try_host_read(mem + PAGE), promised(policy, 'G'));
	memset(mem + PAGE, 'L', PAGE);
	tell("host writes 'L', guest reads it live", guest_read(vm, 1), 'L');
}

static void pin_story(int fd, uint8_t *mem)
{
	struct iovec iov = { .iov_base = mem + 5 * PAGE, .iov_len = PAGE };
	uint64_t where = ~0ull;
	int pipefd[2];
	char line[80];

	printf("\nA page that somebody holds\n");
	mem[5 * PAGE] = 'P';
	if (pipe(pipefd) || vmsplice(pipefd[1], &iov, 1, 0) != (ssize_t)PAGE)
		die("vmsplice");
	printf("  page 5 lies in a pipe (vmsplice)\n");
	tell_call("convert pages 0 to 7 to private", convert(fd, 0, PAGES * PAGE, true, ZERO, &where),
		  -EAGAIN);
	snprintf(line, sizeof(line), "the kernel says: the page at offset %#llx",
		 (unsigned long long)where);
	tell(line, where == 5 * PAGE ? '5' : '?', '5');
	tell("nothing has changed, host reads page 0", try_host_read(mem), 0);
	close(pipefd[0]);
	close(pipefd[1]);
	tell_call("the pipe is closed, convert again", convert(fd, 0, PAGES * PAGE, true, ZERO, NULL), 0);
	tell("host reads page 5", try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	tell_call("convert everything back to shared", convert(fd, 0, PAGES * PAGE, false, ZERO, NULL), 0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static bool is_tcg(void)
{
	unsigned int eax, regs[3];

	__cpuid(0x40000000, eax, regs[0], regs[1], regs[2]);
	return !memcmp(regs, "TCGTCGTCGTCG", sizeof(regs));
}

#define COST_SIZE	(2ul << 20)
#define COST_ROUNDS	9

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *samples)
{
	qsort(samples, COST_ROUNDS, sizeof(samples[0]), by_value);
	return samples[COST_ROUNDS / 2];
}

/* To shared, host touches all, to private: what a bounce buffer costs. */
static double cost_in_place(struct vm *vm)
{
	double samples[COST_ROUNDS], began;
	uint8_t *mem;
	size_t i;
	int round, fd;

	fd = vm_guest_memfd(vm, COST_SIZE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	mem = mmap(NULL, COST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || mem == MAP_FAILED)
		die("guest_memfd of 2 MiB");
	vm_bind(vm, DATA_SLOT + 1, 1ul << 32, COST_SIZE, mem, fd);
	memset(mem, 1, COST_SIZE);

	for (round = 0; round < COST_ROUNDS; round++) {
		if (convert(fd, 0, COST_SIZE, true, PRESERVE, NULL))
			die("conversion of 2 MiB to private");
		began = now();
		if (convert(fd, 0, COST_SIZE, false, PRESERVE, NULL))
			die("conversion of 2 MiB to shared");
		for (i = 0; i < COST_SIZE; i += PAGE)
			mem[i]++;
		if (convert(fd, 0, COST_SIZE, true, PRESERVE, NULL))
			die("conversion of 2 MiB to private");
		samples[round] = now() - began;
	}

	munmap(mem, COST_SIZE);
	close(fd);
	return median(samples);
}

static void set_attribute(struct vm *vm, uint64_t gpa, bool to_private)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = COST_SIZE,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	if (ioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs))
		die("KVM_SET_MEMORY_ATTRIBUTES");
}

static void punch(int fd)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, COST_SIZE))
		die("fallocate");
}

/* The same with two backings, and with the copy that keeps the contents. */
static double cost_two_backings(struct vm *vm)
{
	double samples[COST_ROUNDS], began;
	uint64_t gpa = 2ul << 32;
	int round, fd, shared;
	uint8_t *mem;
	size_t i;

	fd = vm_guest_memfd(vm, COST_SIZE, 0);
	shared = memfd_create("shared", MFD_CLOEXEC);
	if (fd < 0 || shared < 0 || ftruncate(shared, COST_SIZE))
		die("two backings");
	mem = mmap(NULL, COST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
	if (mem == MAP_FAILED)
		die("mmap of the shared half");
	vm_bind(vm, DATA_SLOT + 2, gpa, COST_SIZE, mem, fd);

	for (round = 0; round < COST_ROUNDS; round++) {
		set_attribute(vm, gpa, true);
		punch(shared);
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, COST_SIZE))
			die("fallocate");
		began = now();
		set_attribute(vm, gpa, false);
		punch(fd);
		for (i = 0; i < COST_SIZE; i += PAGE)
			mem[i]++;
		set_attribute(vm, gpa, true);
		punch(shared);
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, COST_SIZE))
			die("fallocate");
		samples[round] = now() - began;
	}

	munmap(mem, COST_SIZE);
	close(shared);
	close(fd);
	return median(samples);
}

int cmd_demo(int argc, char **argv)
{
	double in_place, two_backings;
	struct vm vm;
	uint64_t policy;
	uint8_t *mem;
	int fd;

	(void)argc;
	(void)argv;
	vm_create(&vm, KVM_X86_SW_PROTECTED_VM);
	fd = vm_guest_memfd(&vm, PAGES * PAGE,
			    GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	if (fd < 0 || convert(fd, 0, PAGE, false, PRESERVE, NULL)) {
		fputs("gmem: this kernel does not convert guest_memfd memory in place; "
		      "'gmem probe' says what it does\n", stderr);
		return EXIT_UNSUPPORTED;
	}
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		die("mmap of the guest_memfd");
	vm_bind(&vm, DATA_SLOT, VM_DATA, PAGES * PAGE, mem, fd);
	printf("A guest with one vCPU, a guest_memfd of %d pages: mapped by the host and\n"
	       "bound to the guest at %#lx, all of it shared\n", PAGES, VM_DATA);

	for (policy = ZERO; policy <= NONE; policy++)
		policy_story(&vm, fd, mem, policy);

	printf("\nA policy and a state that do not exist\n");
	tell_call("convert with policy 3", convert(fd, 0, PAGE, true, 3, NULL), -EINVAL);
	tell_call("convert what is behind the end",
		  convert(fd, PAGES * PAGE, PAGE, true, ZERO, NULL), -EINVAL);

	pin_story(fd, mem);

	in_place = cost_in_place(&vm);
	two_backings = cost_two_backings(&vm);
	printf("\nWhat 2 MiB cost, to shared, host touches all, back to private%s\n",
	       is_tcg() ? " (TCG: an emulator, only the ratio means something)" : "");
	printf("  in place, contents kept %40.0f us\n", in_place);
	printf("  two backings, contents lost %36.0f us\n", two_backings);
	printf("  ratio %58.1f\n", two_backings / in_place);

	printf("\n%s\n", nr_wrong ? "Something was not as promised." : "Everything read as promised.");
	vm_destroy(&vm);
	return nr_wrong ? EXIT_WRONG : EXIT_OK;
}
