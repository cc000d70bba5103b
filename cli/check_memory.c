// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Promises of gmem check: what a memory is when new, shared and private, and what a conversion
 * leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void offered_policies_work_and_others_are_refused(void)
{
	uint64_t attributes;
	int policy;

	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++) {
		for (attributes = GMEM_SHARED; attributes <= GMEM_PRIVATE; attributes += GMEM_PRIVATE) {
			/* Starting from the other state. */
			EXPECT(convert(gmem, 0, PAGE, attributes ^ GMEM_PRIVATE, GMEM_NONE, NULL), 0);
			EXPECT(convert(gmem, 0, PAGE, attributes, policy, NULL),
			       offers(attributes, policy) ? 0 : -EOPNOTSUPP);
		}
	}
	EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, 3, NULL), -EINVAL);
}

static void descriptors_are_close_on_exec(void)
{
	EXPECT(fcntl(gmem_private_fd(gmem), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	EXPECT(fcntl(gmem_shared_fd(gmem), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void new_memory_reads_zeros(void)
{
	EXPECT(host_read(mem), 0);
	guest_agree(&vm, 1, 1);
	EXPECT(guest_read(&vm, 1), 0);
}

static void new_private_memory_reads_zeros(void)
{
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_PRIVATE, VM_DATA_SLOT, VM_DATA, &mem);
	expect_attributes(0, SIZE, GMEM_PRIVATE);
	EXPECT(guest_read(&vm, 2), 0);
}

static void shared_pages_are_seen_live_by_both(void)
{
	guest_agree(&vm, 1, 1);
	memset(mem + PAGE, 'h', PAGE);
	EXPECT(guest_read(&vm, 1), 'h');
	guest_write(&vm, 1, 'g');
	EXPECT(host_read(mem + PAGE), 'g');
}

static void private_pages_belong_to_the_guest(void)
{
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	guest_write(&vm, 3, 'p');
	EXPECT(guest_read(&vm, 3), 'p');
	expect_attributes(0, SIZE, GMEM_PRIVATE);
}

static void host_touch_of_private_is_sigbus(void)
{
	uint8_t *other = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, gmem_shared_fd(gmem), 0);
	int status;
	pid_t pid;

	EXPECT(other != MAP_FAILED, true);
	memset(mem, 'a', SIZE);
	EXPECT(host_read(other), 'a');
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(try_host_read(mem), SIGBUS_READ);
	EXPECT(try_host_read(mem + SIZE - PAGE), SIGBUS_READ);
	EXPECT(try_host_read(other), SIGBUS_READ);

	pid = fork();
	if (!pid)
		_exit(try_host_read(other + PAGE) == SIGBUS_READ ? 0 : 1);
	waitpid(pid, &status, 0);
	EXPECT(status, 0);

	/* The same mappings, once it is shared again. */
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(other), 0);
	EXPECT(host_read(mem + SIZE - PAGE), 0);
}

static void kernel_does_not_read_private_for_the_host(void)
{
	int pipefd[2];

	if (pipe(pipefd))
		die("pipe");
	EXPECT(convert(gmem, 0, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(write(pipefd[1], mem, 16), -1);
	EXPECT(errno, EFAULT);
}

/* How many pages of a mapping the page cache has. */
static unsigned int resident(void)
{
	unsigned char pages[PAGES];
	unsigned int i, nr = 0;

	if (mincore(mem, SIZE, pages))
		die("mincore");
	for (i = 0; i < PAGES; i++)
		nr += pages[i] & 1;
	return nr;
}

/* The host physical address of a page, or 0 without the right to know. */
static uint64_t page_frame(const uint8_t *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	(void)*(const volatile uint8_t *)page;
	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry & ((1ull << 55) - 1);
}

static const char *frames_are_hidden(void)
{
	/* Any page of this process answers that. */
	return page_frame((const uint8_t *)&probe) ? NULL :
	       "reading page frames needs /proc and CAP_SYS_ADMIN";
}

static void conversion_moves_no_page(void)
{
	uint64_t before;

	memset(mem, 'k', SIZE);
	before = page_frame(mem + PAGE);
	EXPECT(before != 0, true);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	EXPECT(resident(), PAGES);
	EXPECT(page_frame(mem + PAGE), before);
	EXPECT(host_read(mem + PAGE), 'k');
}

static void conversion_allocates_nothing(void)
{
	mem[0] = 1;
	EXPECT(convert(gmem, PAGE, SIZE - PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, PAGE, SIZE - PAGE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(resident(), 1);
}

static void other_half_is_given_back(void)
{
	memset(mem, 'd', SIZE);
	EXPECT(resident(), PAGES);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(resident(), 0);
	guest_write(&vm, 1, 'd');
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	/* This is a page of the kernel's, not the one that was written. */
	EXPECT(guest_read(&vm, 1), 0);
}

static const struct promise promises[] = {
	PROMISE("probe", offered_policies_work_and_others_are_refused, ANY, N, N),
	PROMISE("memory", descriptors_are_close_on_exec, ANY, 0, 0),
	PROMISE("memory", new_memory_reads_zeros, ANY, 0, 0),
	PROMISE("memory", new_private_memory_reads_zeros, ANY, 0, 0),
	PROMISE("memory", shared_pages_are_seen_live_by_both, ANY, 0, 0),
	PROMISE("memory", private_pages_belong_to_the_guest, ANY, 0, N),
	PROMISE("memory", host_touch_of_private_is_sigbus, IN_PLACE, Z, N),
	PROMISE("memory", kernel_does_not_read_private_for_the_host, IN_PLACE, 0, N),
	PROMISE("memory", conversion_moves_no_page, IN_PLACE, P, P, .lacks = frames_are_hidden),
	PROMISE("memory", conversion_allocates_nothing, ANY, Z, N),
	PROMISE("memory", other_half_is_given_back, TWO, Z, N),
};

const struct promises check_memory = { promises, sizeof(promises) / sizeof(promises[0]) };
