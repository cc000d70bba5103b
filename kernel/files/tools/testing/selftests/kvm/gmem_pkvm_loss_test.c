// SPDX-License-Identifier: GPL-2.0
/*
 * What the file of a protected guest loses is lost for good and visible to nobody, and only
 * the VM's owner can cause that: holes, the end of the file, memory failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_pkvm.h"
#include "gmem_util.h"

GMEM_FIXTURE(loss, GMEM_PAGES)

TEST_F(loss, hole_takes_a_private_page_from_the_guest)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	give_to_the_guest(g, 3);
	give_to_the_guest(g, 4);
	give_to_the_guest(g, 5);
	punch_hole(g, 4, 1);
	expect_missing(g, 4);
	expect_state(g, 3, 3, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 3), letter(3));
	TEST_ASSERT_EQ(guest_read(g, 5), letter(5));

	/* The page that is there now is another one, and belongs to the host. */
	TEST_ASSERT_EQ(try_convert(g, 4, 1, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 4), 0);
	host_write(g, 4, 'h');
	expect_missing(g, 4);
	TEST_ASSERT_EQ(try_convert(g, 4, 1, PRIVATE, PRESERVE, &where), 0);
	expect_missing(g, 4);
}

TEST_F(loss, hole_takes_a_shared_page_from_the_guest)
{
	struct gmem_vm *g = &self->g;

	have_it_shared(g, 4);
	TEST_ASSERT_EQ(host_read(g, 4), letter(4));
	punch_hole(g, 4, 1);
	expect_state(g, 4, 1, SHARED);
	TEST_ASSERT_EQ(host_read(g, 4), 0);
	host_write(g, 4, 'h');
	expect_missing(g, 4);
	TEST_ASSERT_EQ(host_read(g, 4), 'h');
}

/* Punch a hole of 1 page in a process that is not the VM's: returns 0 or errno. */
static int punch_elsewhere(struct gmem_vm *g, u64 page)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
				page * PAGE_SIZE, PAGE_SIZE) ? errno : 0);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(WIFEXITED(status), "The child was killed");

	return WEXITSTATUS(status);
}

/* For the guest a hole is permanent, so other processes cannot punch one where the guest is. */
TEST_F(loss, other_process_takes_nothing_from_the_guest)
{
	struct gmem_vm *g = &self->g;

	have_it_shared(g, 3);
	give_to_the_guest(g, 5);
	host_write(g, 7, letter(7));
	TEST_ASSERT_EQ(punch_elsewhere(g, 3), EPERM);
	TEST_ASSERT_EQ(punch_elsewhere(g, 5), EPERM);
	TEST_ASSERT_EQ(host_read(g, 3), letter(3));
	TEST_ASSERT_EQ(guest_read(g, 3), letter(3));
	TEST_ASSERT_EQ(guest_read(g, 5), letter(5));

	/* What the guest has never had behaves like any shared memory. */
	TEST_ASSERT_EQ(punch_elsewhere(g, 7), 0);
	TEST_ASSERT_EQ(host_read(g, 7), 0);
}

TEST_F(loss, closing_the_file_takes_all_pages_from_the_guest)
{
	struct gmem_vm *g = &self->g;
	int r;

	give_to_the_guest(g, 1);
	have_it_shared(g, 2);
	gmem_convert(g, 3, 1, PRIVATE, PRESERVE);
	kvm_munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	close(g->fd);
	expect_missing(g, 1);
	expect_missing(g, 2);

	/* Pages that it has never had. */
	guest_start_read(g, 3);
	r = __vcpu_run(g->vcpu) ? -errno : 0;
	TEST_ASSERT_EQ(r, -EFAULT);
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);

	/* The teardown needs something to close. */
	g->fd = vm_create_guest_memfd(g->vm, GMEM_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(GMEM_PAGES * PAGE_SIZE, PROT_READ, MAP_SHARED, g->fd);
}

TEST_F(loss, failed_private_page_is_gone_and_stays_private)
{
	struct gmem_vm *g = &self->g;
	u64 pfn, where;
	int r;

	host_write(g, 5, 'x');
	pfn = pfn_of(g, 5);
	give_to_the_guest(g, 4);
	give_to_the_guest(g, 5);
	r = poison_frame(pfn);
	if (r == -ENOENT)
		SKIP(return, "needs CONFIG_HWPOISON_INJECT and debugfs");
	TEST_ASSERT(!r, "Cannot poison frame %#lx: %s", pfn, strerror(-r));

	expect_missing(g, 5);
	TEST_ASSERT_EQ(try_convert(g, 5, 1, SHARED, PRESERVE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));

	punch_hole(g, 5, 1);
	TEST_ASSERT_EQ(try_convert(g, 5, 1, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 5), 0);
	expect_missing(g, 5);
}

TEST_F(loss, failed_shared_page_is_gone)
{
	struct gmem_vm *g = &self->g;
	u64 pfn, where;
	int r;

	have_it_shared(g, 4);
	have_it_shared(g, 5);
	pfn = pfn_of(g, 5);
	/* Nobody is to be killed because of it. */
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_DONTNEED), "madvise() failed");
	r = poison_frame(pfn);
	if (r == -ENOENT)
		SKIP(return, "needs CONFIG_HWPOISON_INJECT and debugfs");
	TEST_ASSERT(!r, "Cannot poison frame %#lx: %s", pfn, strerror(-r));

	expect_missing(g, 5);
	TEST_EXPECT_SIGBUS(host_read(g, 5));
	TEST_ASSERT_EQ(try_convert(g, 5, 1, PRIVATE, PRESERVE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));
	TEST_ASSERT_EQ(host_read(g, 4), letter(4));
}

TEST_HARNESS_MAIN
