// SPDX-License-Identifier: GPL-2.0
/*
 * Protected VMs with in-place memory: the hypercalls by which the guest shares memory and
 * takes it back, and the policies.  What protected VMs promise like all others is in the
 * other tests; consent, lost pages and the end of a VM have tests of their own.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_pkvm.h"
#include "gmem_util.h"

GMEM_FIXTURE(pkvm, GMEM_PAGES)

TEST_F(pkvm, capabilities_say_what_works)
{
	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_FAULT_INFO), 1);
	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_ATTRIBUTES), 0);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES), 0);
}

TEST_F(pkvm, payload_of_the_host_is_read_by_the_guest)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
}

/* Anonymous memory, also on a kernel that has no other kind */

FIXTURE(anonymous) {
	struct gmem_vm g;
};

FIXTURE_SETUP(anonymous)
{
	guest_create(&self->g, 1, &self->g.vcpu);
}

FIXTURE_TEARDOWN(anonymous)
{
	guest_destroy(&self->g);
}

/* How often a page is shared and taken back. */
#define NR_SHARED	2000

static void guest_shares_anonymous_memory(u64 gpa, u64 nr)
{
	struct arm_smccc_res res = {};
	u64 i;

	for (i = 0; i < nr && !res.a0; i++) {
		smccc_hvc(MEM_SHARE, gpa, 0, 0, 0, 0, 0, 0, &res);
		if (!res.a0)
			smccc_hvc(MEM_UNSHARE, gpa, 0, 0, 0, 0, 0, 0, &res);
	}
	guest_answer(res.a0 ? 0 : i);
}

/* None of this exits to user space, so it should cost nothing; tests/rate compares. */
TEST_F(anonymous, memory_is_shared_without_the_host)
{
	struct gmem_vm *g = &self->g;
	u64 page = vm_phy_page_alloc(g->vm, KVM_GUEST_PAGE_TABLE_MIN_PADDR, 0);
	struct timespec start;

	guest_start(g, g->vcpu, guest_shares_anonymous_memory, page, 1, 0);
	expect_result(g, 1);
	guest_start(g, g->vcpu, guest_shares_anonymous_memory, page, NR_SHARED, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	expect_result(g, NR_SHARED);
	printf("# measured: %ld ns to share a page and take it back\n",
	       timespec_to_ns(timespec_elapsed(start)) / NR_SHARED);
}

/* The hypercalls */

TEST_F(pkvm, hypercall_repeats_until_user_space_converts)
{
	struct gmem_vm *g = &self->g;
	int i;

	give_to_the_guest(g, 3);
	guest_start_hypercall(g, MEM_SHARE, 3);
	for (i = 0; i < SOME_TIMES; i++) {
		expect_exit(g, GUEST_WANTS_SHARED, 3);
		expect_state(g, 3, 1, PRIVATE);
	}
	TEST_ASSERT_EQ(__gmem_convert(g->fd, 3 * PAGE_SIZE, PAGE_SIZE, SHARED, PRESERVE, NULL), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(host_read(g, 3), letter(3));

	guest_start_hypercall(g, MEM_UNSHARE, 3);
	for (i = 0; i < SOME_TIMES; i++) {
		expect_exit(g, GUEST_WANTS_PRIVATE, 3);
		TEST_ASSERT_EQ(host_read(g, 3), letter(3));
	}
	TEST_ASSERT_EQ(__gmem_convert(g->fd, 3 * PAGE_SIZE, PAGE_SIZE, PRIVATE, PRESERVE, NULL), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	expect_state(g, 3, 1, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 3), letter(3));
}

TEST_F(pkvm, sharing_again_what_is_shared_is_success)
{
	struct gmem_vm *g = &self->g;
	int i;

	have_it_shared(g, 3);
	guest_start_hypercall(g, MEM_SHARE, 3);
	for (i = 0; i < SOME_TIMES; i++)
		expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(host_read(g, 3), letter(3));
}

TEST_F(pkvm, taking_back_what_is_not_shared_is_no_success)
{
	struct gmem_vm *g = &self->g;
	int i;

	give_to_the_guest(g, 3);
	/* Page 4 has never been touched, page 5 belongs to the host. */
	gmem_convert(g, 4, 1, PRIVATE, PRESERVE);
	for (i = 3; i < 6; i++) {
		guest_start_hypercall(g, MEM_UNSHARE, i);
		expect_result(g, SMCCC_RET_INVALID_PARAMETER);
	}
	TEST_ASSERT_EQ(guest_read(g, 3), letter(3));
}

TEST_F(pkvm, page_is_shared_without_having_been_touched)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'p');
	gmem_convert(g, 3, 1, PRIVATE, PRESERVE);
	guest_start_hypercall(g, MEM_SHARE, 3);
	expect_exit(g, GUEST_WANTS_SHARED, 3);
	TEST_ASSERT_EQ(try_convert(g, 3, 1, SHARED, PRESERVE, &where), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(host_read(g, 3), 'p');

	/* A page of the host has to become the guest's first. */
	host_write(g, 4, 'q');
	guest_start_hypercall(g, MEM_SHARE, 4);
	expect_exit(g, GUEST_WANTS_PRIVATE, 4);
	TEST_ASSERT_EQ(try_convert(g, 4, 1, PRIVATE, PRESERVE, &where), 0);
	expect_exit(g, GUEST_WANTS_SHARED, 4);
	TEST_ASSERT_EQ(try_convert(g, 4, 1, SHARED, PRESERVE, &where), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(host_read(g, 4), 'q');
}

TEST_F(pkvm, touching_what_is_the_hosts_asks_for_it)
{
	struct gmem_vm *g = &self->g;
	u64 value;
	int i;

	host_write(g, 3, 'p');
	guest_start_read(g, 3);
	for (i = 0; i < SOME_TIMES; i++) {
		expect_exit(g, GUEST_WANTS_PRIVATE, 3);
		TEST_ASSERT_EQ(host_read(g, 3), 'p');
	}
	gmem_convert(g, 3, 1, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), GUEST_ANSWERS);
	TEST_ASSERT_EQ(value, 'p');
}

/* Who holds a page, and takes it back */

static void expect_no_way_back(struct gmem_vm *g, u64 page)
{
	u64 where;
	int i;

	guest_start_hypercall(g, MEM_UNSHARE, page);
	for (i = 0; i < SOME_TIMES; i++) {
		expect_exit(g, GUEST_WANTS_PRIVATE, page);
		TEST_ASSERT_EQ(try_convert(g, page, 1, PRIVATE, PRESERVE, &where), -EAGAIN);
		TEST_ASSERT_EQ(where, page);
	}
	expect_state(g, page, 1, SHARED);
}

static void expect_way_back(struct gmem_vm *g, u64 page)
{
	u64 where;

	expect_exit(g, GUEST_WANTS_PRIVATE, page);
	TEST_ASSERT_EQ(try_convert(g, page, 1, PRIVATE, PRESERVE, &where), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	expect_state(g, page, 1, PRIVATE);
}

TEST_F(pkvm, guest_waits_for_a_pipe_that_holds_the_page)
{
	struct gmem_vm *g = &self->g;
	u8 buffer[PAGE_SIZE];
	int pipefd[2];

	have_it_shared(g, 2);
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 2 * PAGE_SIZE, pipefd), 0);
	expect_no_way_back(g, 2);
	host_write(g, 2, 'h');
	TEST_ASSERT_EQ(read(pipefd[0], buffer, PAGE_SIZE), PAGE_SIZE);
	TEST_ASSERT_EQ(page_byte(buffer), 'h');
	unpin_pipe(pipefd);
	expect_way_back(g, 2);
	TEST_ASSERT_EQ(guest_read(g, 2), 'h');
}

TEST_F(pkvm, guest_waits_for_a_longterm_pin)
{
	struct gmem_vm *g = &self->g;
	int fd;

	have_it_shared(g, 2);
	TEST_ASSERT_EQ(pin_longterm(g->mem + 2 * PAGE_SIZE, &fd), 0);
	expect_no_way_back(g, 2);
	TEST_ASSERT_EQ(host_read(g, 2), letter(2));
	close(fd);
	expect_way_back(g, 2);
	TEST_ASSERT_EQ(guest_read(g, 2), letter(2));
}

TEST_F(pkvm, guest_takes_back_what_the_host_has_mapped)
{
	struct gmem_vm *g = &self->g;

	have_it_shared(g, 2);
	host_write(g, 2, 'h');
	guest_start_hypercall(g, MEM_UNSHARE, 2);
	expect_way_back(g, 2);
	TEST_EXPECT_SIGBUS(host_read(g, 2));
	TEST_EXPECT_SIGBUS(host_write(g, 2, 'x'));
	TEST_ASSERT_EQ(guest_read(g, 2), 'h');
}

/* Policies */

TEST_F(pkvm, zero_to_shared_clears_at_once)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		give_to_the_guest(g, i);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, ZERO);
	/* Before the host has touched anything. */
	for (i = 0; i < GMEM_PAGES; i += 2) {
		TEST_ASSERT_EQ(guest_read(g, i), 0);
		guest_write(g, i, 'n');
	}
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), i % 2 ? 0 : 'n');
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), i % 2 ? 0 : 'n');
}

TEST_F(pkvm, zero_to_private_is_eopnotsupp)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'a');
	TEST_ASSERT_EQ(try_convert(g, 2, 4, PRIVATE, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 2);
	TEST_ASSERT_EQ(try_convert_gpa(g, 2, 4, PRIVATE, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 2);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
}

TEST_F(pkvm, memslots_stay_after_the_first_run)
{
	struct gmem_vm *g = &self->g;

	guest_write(g, 1, 'a');
	TEST_ASSERT(__vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
						 0, g->mem, g->fd, 0) == -1 && errno == EPERM,
		    "Deletion of a memslot should fail with EPERM");
	TEST_ASSERT_EQ(guest_read(g, 1), 'a');
}

/* What the host tries to do to private memory */

TEST_F(pkvm, host_gets_nothing_that_is_private)
{
	struct gmem_vm *g = &self->g;
	u8 *hva = g->mem + 4 * PAGE_SIZE, buffer[64];
	struct iovec iov = { hva, PAGE_SIZE };
	int pipefd[2];

	give_to_the_guest(g, 4);
	TEST_EXPECT_SIGBUS(READ_ONCE(*hva));
	TEST_EXPECT_SIGBUS(WRITE_ONCE(*hva, 'x'));

	TEST_ASSERT(!pipe(pipefd), "pipe() failed");
	TEST_ASSERT(write(pipefd[1], hva, 64) == -1 && errno == EFAULT,
		    "write() from a private page should fail with EFAULT");
	TEST_ASSERT_EQ(write(pipefd[1], "0123456789", 10), 10);
	TEST_ASSERT(read(pipefd[0], hva, 10) == -1 && errno == EFAULT,
		    "read() to a private page should fail with EFAULT");
	TEST_ASSERT_EQ(vmsplice(pipefd[1], &iov, 1, 0), -1);
	TEST_ASSERT_EQ(errno, EFAULT);
	unpin_pipe(pipefd);

	TEST_ASSERT(madvise(hva, PAGE_SIZE, MADV_POPULATE_READ) && errno == EFAULT,
		    "MADV_POPULATE_READ of a private page should fail with EFAULT");
	TEST_ASSERT(madvise(hva, PAGE_SIZE, MADV_POPULATE_WRITE) && errno == EFAULT,
		    "MADV_POPULATE_WRITE of a private page should fail with EFAULT");
	TEST_ASSERT(read(g->fd, buffer, sizeof(buffer)) == -1, "The file can be read");
	TEST_ASSERT(pread(g->fd, buffer, sizeof(buffer), 4 * PAGE_SIZE) == -1,
		    "The file can be read");

	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));
}

TEST_HARNESS_MAIN
