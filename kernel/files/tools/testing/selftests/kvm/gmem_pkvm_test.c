// SPDX-License-Identifier: GPL-2.0
/*
 * Protected VMs on in-place memory: the guest decides what becomes shared, the host
 * gets nothing else, and neither harms the other by what it does at the wrong time.
 * What protected VMs promise as all others do is in the other tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/* How often what should repeat is repeated. */
#define SOME_TIMES	5

FIXTURE(pkvm) {
	struct gmem_vm g;
};

FIXTURE_SETUP(pkvm)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(pkvm)
{
	gmem_vm_destroy(&self->g);
}

static u8 letter(u64 page)
{
	return 'A' + page;
}

static u64 gpa(u64 page)
{
	return GMEM_GPA + page * PAGE_SIZE;
}

/* The guest's part is the case's.  *where counts pages, too, and is POISON if not written. */
static int convert(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy, u64 *where)
{
	int r = __gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes, policy, where);

	if (*where != POISON)
		*where /= PAGE_SIZE;

	return r;
}

/* The same by guest physical address, pages counted from GMEM_GPA. */
static int convert_gpa(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy,
		       u64 *where)
{
	int r = __gmem_convert(g->vm->fd, gpa(page), nr * PAGE_SIZE, attributes, policy, where);

	if (*where != POISON)
		*where = (*where - GMEM_GPA) / PAGE_SIZE;

	return r;
}

static void expect_exit(struct gmem_vm *g, enum guest_exit exit, u64 page)
{
	u64 value;

	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), exit);
	TEST_ASSERT_EQ(value, gpa(page));
}

static void expect_result(struct gmem_vm *g, long result)
{
	u64 value;

	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), GUEST_ANSWERS);
	TEST_ASSERT_EQ((long)value, result);
}

/* The guest has page @page, whose byte is its letter, and nobody else has. */
static void give_to_the_guest(struct gmem_vm *g, u64 page)
{
	gmem_convert(g, page, 1, PRIVATE, PRESERVE);
	guest_write(g, page, letter(page));
}

/* The guest has it and shares it with the host. */
static void have_it_shared(struct gmem_vm *g, u64 page)
{
	give_to_the_guest(g, page);
	gmem_convert(g, page, 1, SHARED, PRESERVE);
}

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

/* Anonymous memory, on a kernel that knows no other, too */

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

/* Times that a page is shared and taken back. */
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

/* No exit to user space for any of it, and so no cost; tests/rate compares. */
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

/* Consent */

FIXTURE(consent) {
	struct gmem_vm g;
};

FIXTURE_VARIANT(consent) {
	u64 policy;
	int (*convert)(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy,
		       u64 *where);
};

FIXTURE_VARIANT_ADD(consent, zero) { .policy = ZERO, .convert = convert };
FIXTURE_VARIANT_ADD(consent, preserve) { .policy = PRESERVE, .convert = convert };
FIXTURE_VARIANT_ADD(consent, none) { .policy = NONE, .convert = convert };
FIXTURE_VARIANT_ADD(consent, zero_by_gpa) { .policy = ZERO, .convert = convert_gpa };
FIXTURE_VARIANT_ADD(consent, preserve_by_gpa) { .policy = PRESERVE, .convert = convert_gpa };
FIXTURE_VARIANT_ADD(consent, none_by_gpa) { .policy = NONE, .convert = convert_gpa };

FIXTURE_SETUP(consent)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(consent)
{
	gmem_vm_destroy(&self->g);
}

static void expect_guests_letters(struct gmem_vm *g)
{
	u64 i;

	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
}

TEST_F(consent, pages_that_the_guest_keeps_are_eperm)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		give_to_the_guest(g, i);

	for (i = GMEM_PAGES; i-- > 0; ) {
		TEST_ASSERT_EQ(variant->convert(g, i, 1, SHARED, variant->policy, &where), -EPERM);
		TEST_ASSERT_EQ(where, i);
	}
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 0);
	TEST_ASSERT_EQ(variant->convert(g, 3, 9, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 3);
	expect_guests_letters(g);
}

TEST_F(consent, one_page_without_it_is_reported_and_nothing_changes)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		give_to_the_guest(g, i);
	guest_agrees(g, 0, 5);
	guest_agrees(g, 6, GMEM_PAGES - 6);

	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(variant->convert(g, 2, 4, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 5);
	expect_guests_letters(g);

	/* What was refused is not claimed: the guest may take it back. */
	guest_start_hypercall(g, MEM_UNSHARE, 2);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(variant->convert(g, 0, 4, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 2);

	guest_agrees(g, 5, 1);
	guest_start_hypercall(g, MEM_SHARE, 2);
	expect_exit(g, GUEST_WANTS_SHARED, 2);
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), 0);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), expected(variant->policy, letter(i)));
	expect_result(g, SMCCC_RET_SUCCESS);
}

TEST_F(consent, is_not_needed_for_what_the_guest_has_never_touched)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	guest_read(g, 7);
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 7);
	TEST_ASSERT_EQ(variant->convert(g, 0, 7, SHARED, variant->policy, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 6), expected(variant->policy, letter(6)));
	expect_state(g, 7, GMEM_PAGES - 7, PRIVATE);
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
	/* Page 4 has never been touched, page 5 is the host's. */
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
	TEST_ASSERT_EQ(convert(g, 3, 1, SHARED, PRESERVE, &where), 0);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(host_read(g, 3), 'p');

	/* One that is the host's has to become the guest's first. */
	host_write(g, 4, 'q');
	guest_start_hypercall(g, MEM_SHARE, 4);
	expect_exit(g, GUEST_WANTS_PRIVATE, 4);
	TEST_ASSERT_EQ(convert(g, 4, 1, PRIVATE, PRESERVE, &where), 0);
	expect_exit(g, GUEST_WANTS_SHARED, 4);
	TEST_ASSERT_EQ(convert(g, 4, 1, SHARED, PRESERVE, &where), 0);
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

/* Whoever holds a page, and takes it back */

static void expect_no_way_back(struct gmem_vm *g, u64 page)
{
	u64 where;
	int i;

	guest_start_hypercall(g, MEM_UNSHARE, page);
	for (i = 0; i < SOME_TIMES; i++) {
		expect_exit(g, GUEST_WANTS_PRIVATE, page);
		TEST_ASSERT_EQ(convert(g, page, 1, PRIVATE, PRESERVE, &where), -EAGAIN);
		TEST_ASSERT_EQ(where, page);
	}
	expect_state(g, page, 1, SHARED);
}

static void expect_way_back(struct gmem_vm *g, u64 page)
{
	u64 where;

	expect_exit(g, GUEST_WANTS_PRIVATE, page);
	TEST_ASSERT_EQ(convert(g, page, 1, PRIVATE, PRESERVE, &where), 0);
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
	TEST_ASSERT_EQ(convert(g, 2, 4, PRIVATE, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 2);
	TEST_ASSERT_EQ(convert_gpa(g, 2, 4, PRIVATE, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 2);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
}

/* Pages that the file loses under the guest */

/* The guest had it, gets no other, and cannot share it either. */
static void expect_missing(struct gmem_vm *g, u64 page)
{
	int i;

	guest_start_read(g, page);
	for (i = 0; i < SOME_TIMES; i++)
		expect_exit(g, GUEST_MISSES_PAGE, page);
	guest_start_hypercall(g, MEM_UNSHARE, page);
	expect_result(g, SMCCC_RET_INVALID_PARAMETER);
}

TEST_F(pkvm, hole_takes_a_private_page_from_the_guest)
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

	/* The page that is there now is another, and the host's. */
	TEST_ASSERT_EQ(convert(g, 4, 1, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 4), 0);
	host_write(g, 4, 'h');
	expect_missing(g, 4);
	TEST_ASSERT_EQ(convert(g, 4, 1, PRIVATE, PRESERVE, &where), 0);
	expect_missing(g, 4);
}

TEST_F(pkvm, hole_takes_a_shared_page_from_the_guest)
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

/* A hole of 1 page by a process that is not the VM's: 0 or errno. */
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

/* For the guest a hole is for good, so another process makes none where the guest is. */
TEST_F(pkvm, other_process_takes_nothing_from_the_guest)
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

	/* What the guest has never had is like any shared memory. */
	TEST_ASSERT_EQ(punch_elsewhere(g, 7), 0);
	TEST_ASSERT_EQ(host_read(g, 7), 0);
}

TEST_F(pkvm, closing_the_file_takes_all_pages_from_the_guest)
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

	/* What it has never had. */
	guest_start_read(g, 3);
	r = __vcpu_run(g->vcpu) ? -errno : 0;
	TEST_ASSERT_EQ(r, -EFAULT);
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);

	/* Something for the teardown to close. */
	g->fd = vm_create_guest_memfd(g->vm, GMEM_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(GMEM_PAGES * PAGE_SIZE, PROT_READ, MAP_SHARED, g->fd);
}

TEST_F(pkvm, memslots_stay_after_the_first_run)
{
	struct gmem_vm *g = &self->g;

	guest_write(g, 1, 'a');
	TEST_ASSERT(__vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
						 0, g->mem, g->fd, 0) == -1 && errno == EPERM,
		    "Deletion of a memslot should be EPERM");
	TEST_ASSERT_EQ(guest_read(g, 1), 'a');
}

/* What the host tries on private memory */

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
		    "write() from a private page should be EFAULT");
	TEST_ASSERT_EQ(write(pipefd[1], "0123456789", 10), 10);
	TEST_ASSERT(read(pipefd[0], hva, 10) == -1 && errno == EFAULT,
		    "read() to a private page should be EFAULT");
	TEST_ASSERT_EQ(vmsplice(pipefd[1], &iov, 1, 0), -1);
	TEST_ASSERT_EQ(errno, EFAULT);
	unpin_pipe(pipefd);

	TEST_ASSERT(madvise(hva, PAGE_SIZE, MADV_POPULATE_READ) && errno == EFAULT,
		    "MADV_POPULATE_READ of a private page should be EFAULT");
	TEST_ASSERT(madvise(hva, PAGE_SIZE, MADV_POPULATE_WRITE) && errno == EFAULT,
		    "MADV_POPULATE_WRITE of a private page should be EFAULT");
	TEST_ASSERT(read(g->fd, buffer, sizeof(buffer)) == -1, "The file can be read");
	TEST_ASSERT(pread(g->fd, buffer, sizeof(buffer), 4 * PAGE_SIZE) == -1,
		    "The file can be read");

	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));
}

/* Memory failure */

static int poison_frame(u64 pfn)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%#lx", pfn);
	r = write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", text);

	/* EBUSY says that the page stays in the file, as it does until it is punched out. */
	return r == -EBUSY ? 0 : r;
}

TEST_F(pkvm, failed_private_page_is_gone_and_stays_private)
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
	TEST_ASSERT_EQ(convert(g, 5, 1, SHARED, PRESERVE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));

	punch_hole(g, 5, 1);
	TEST_ASSERT_EQ(convert(g, 5, 1, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 5), 0);
	expect_missing(g, 5);
}

TEST_F(pkvm, failed_shared_page_is_gone)
{
	struct gmem_vm *g = &self->g;
	u64 pfn, where;
	int r;

	have_it_shared(g, 4);
	have_it_shared(g, 5);
	pfn = pfn_of(g, 5);
	/* Nobody is to be killed for it. */
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_DONTNEED), "madvise() failed");
	r = poison_frame(pfn);
	if (r == -ENOENT)
		SKIP(return, "needs CONFIG_HWPOISON_INJECT and debugfs");
	TEST_ASSERT(!r, "Cannot poison frame %#lx: %s", pfn, strerror(-r));

	expect_missing(g, 5);
	TEST_EXPECT_SIGBUS(host_read(g, 5));
	TEST_ASSERT_EQ(convert(g, 5, 1, PRIVATE, PRESERVE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(guest_read(g, 4), letter(4));
	TEST_ASSERT_EQ(host_read(g, 4), letter(4));
}

/*
 * Several files: guest pages [0, 16) are the fixture's, [16, 24) the second half of
 * another file, [24, 32) its first half.
 */
#define UPPER_PAGE	16
#define LOWER_PAGE	24
#define END_PAGE	32

FIXTURE(files) {
	struct gmem_vm g;
	struct gmem_vm other;
};

FIXTURE_SETUP(files)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	const u64 half = 8 * PAGE_SIZE;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	*other = *g;
	other->fd = vm_create_guest_memfd(g->vm, 2 * half, GMEM_IN_PLACE);
	other->mem = kvm_mmap(2 * half, PROT_READ | PROT_WRITE, MAP_SHARED, other->fd);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD, gpa(UPPER_PAGE),
				   half, other->mem + half, other->fd, half);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD, gpa(LOWER_PAGE),
				   half, other->mem, other->fd, 0);
	virt_map(g->vm, gpa(UPPER_PAGE), gpa(UPPER_PAGE), END_PAGE - UPPER_PAGE);
}

FIXTURE_TEARDOWN(files)
{
	kvm_munmap(self->other.mem, GMEM_PAGES * PAGE_SIZE);
	close(self->other.fd);
	gmem_vm_destroy(&self->g);
}

static void expect_eperm(struct gmem_vm *g, struct gmem_vm *other, u64 page)
{
	u64 where;

	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, SHARED, PRESERVE, &where), -EPERM);
	TEST_ASSERT_EQ(where, page);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	expect_state(other, 0, GMEM_PAGES, PRIVATE);
}

TEST_F(files, one_call_takes_the_consent_to_all)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	u64 where;

	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	guest_write(g, 3, 'a');
	guest_write(g, UPPER_PAGE + 4, 'b');
	guest_write(g, LOWER_PAGE + 2, 'c');

	/* The lowest guest address, not the lowest page of a file. */
	expect_eperm(g, other, 3);
	guest_agrees(g, 3, 1);
	expect_eperm(g, other, UPPER_PAGE + 4);
	guest_agrees(g, UPPER_PAGE + 4, 1);
	expect_eperm(g, other, LOWER_PAGE + 2);
	/* Nothing of the first file is claimed. */
	guest_takes_back(g, 3, 1);
	guest_agrees(g, LOWER_PAGE + 2, 1);
	expect_eperm(g, other, 3);
	guest_agrees(g, 3, 1);

	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
	TEST_ASSERT_EQ(host_read(other, 12), 'b');
	TEST_ASSERT_EQ(host_read(other, 2), 'c');
}

TEST_F(files, one_holder_keeps_all_shared)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	int pipefd[2], fd;
	u64 where;

	host_write(g, 1, 'a');
	TEST_ASSERT_EQ(pin_in_pipe(other->mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, LOWER_PAGE + 2);
	TEST_ASSERT_EQ(pin_longterm(other->mem + 12 * PAGE_SIZE, &fd), 0);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, UPPER_PAGE + 4);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 1), 'a');
	close(fd);
	unpin_pipe(pipefd);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(guest_read(g, 1), 'a');
}

/* No memory beside files is private here, and all of it is shared. */
TEST_F(files, outside_of_them_nothing_becomes_private)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE, 4, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE - 4, 8, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 0, PAGE_SIZE, PRIVATE, NONE, &where), -EINVAL);
	expect_state(&self->other, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE, 4, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE + 16, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE - 4, 8, SHARED, PRESERVE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, END_PAGE);
}

/*
 * The end of a VM, in every state, leaves all memory to the host.  Half of the pages are
 * in that state, the other half is the guest's.
 */
#define ENDING_PAGES	256
#define ENDING_VMS	104
/*
 * What a kernel may keep for itself, far below what these VMs had.  One without in-place
 * memory loses some 15 KiB for each vCPU of a protected VM.
 */
#define SLACK_KIB	(10 * SZ_1K)
#define SLACK_VCPU_KIB	32

enum ending {
	UNTOUCHED,
	PRIVATE_PAGES,
	SHARED_PAGES,
	AGREED,
	TAKEN_BACK,
	CLAIMED_BEFORE,
	HOLES,
	VM_FIRST,
};

FIXTURE(ending) {
};

FIXTURE_VARIANT(ending) {
	enum ending state;
};

FIXTURE_VARIANT_ADD(ending, untouched) { .state = UNTOUCHED };
FIXTURE_VARIANT_ADD(ending, private) { .state = PRIVATE_PAGES };
FIXTURE_VARIANT_ADD(ending, shared) { .state = SHARED_PAGES };
FIXTURE_VARIANT_ADD(ending, agreed) { .state = AGREED };
FIXTURE_VARIANT_ADD(ending, taken_back) { .state = TAKEN_BACK };
FIXTURE_VARIANT_ADD(ending, not_taken_back) { .state = CLAIMED_BEFORE };
FIXTURE_VARIANT_ADD(ending, holes) { .state = HOLES };
FIXTURE_VARIANT_ADD(ending, vm_before_file) { .state = VM_FIRST };

FIXTURE_SETUP(ending)
{
}

FIXTURE_TEARDOWN(ending)
{
}

static void bring_to(struct gmem_vm *g, enum ending state)
{
	const u64 half = ENDING_PAGES / 2;
	u64 i, where;

	memset(g->mem, 'a', ENDING_PAGES * PAGE_SIZE);
	gmem_convert(g, 0, ENDING_PAGES, PRIVATE, PRESERVE);
	for (i = state == UNTOUCHED ? half : 0; i < ENDING_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), 'a');

	switch (state) {
	case SHARED_PAGES:
	case VM_FIRST:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		TEST_ASSERT_EQ(host_read(g, 1), 'a');
		break;
	case AGREED:
		guest_agrees(g, 0, half);
		break;
	case TAKEN_BACK:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		gmem_convert(g, 0, half, PRIVATE, PRESERVE);
		break;
	case CLAIMED_BEFORE:
		gmem_convert(g, 0, half, SHARED, PRESERVE);
		TEST_ASSERT_EQ(convert(g, 0, half, PRIVATE, PRESERVE, &where), 0);
		break;
	case HOLES:
		gmem_convert(g, 0, half / 2, SHARED, PRESERVE);
		punch_hole(g, 0, half);
		break;
	default:
		break;
	}
}

static void one_ending(enum ending state)
{
	struct gmem_vm g;

	gmem_vm_create(&g, ENDING_PAGES, GMEM_IN_PLACE);
	bring_to(&g, state);
	if (state != VM_FIRST) {
		gmem_vm_destroy(&g);
		return;
	}

	/* The file stays, and what was the guest's has become the host's. */
	guest_destroy(&g);
	TEST_ASSERT_EQ(host_read(&g, 1), 'a');
	TEST_ASSERT(!is_mappable(&g, ENDING_PAGES - 1), "A private page of a dead VM is mappable");
	kvm_munmap(g.mem, ENDING_PAGES * PAGE_SIZE);
	close(g.fd);
}

/* Without what is kept in case it is used again. */
static long free_kib(void)
{
	(void)write_file("/proc/sys/vm/drop_caches", "3");
	(void)write_file("/proc/sys/vm/compact_memory", "1");

	return read_number("/proc/meminfo", "MemFree");
}

static void expect_level(long before, int nr_vms, int nr_vcpus)
{
	long missing, i;

	/* What is freed late, by the RCU or a worker, has time. */
	for (i = 0; i < 100; i++) {
		missing = before - free_kib();
		if (missing <= SLACK_KIB)
			break;
		usleep(20000);
	}
	printf("# measured: %ld KiB less after %d VMs\n", missing, nr_vms);
	TEST_ASSERT(missing <= SLACK_KIB + nr_vms * nr_vcpus * SLACK_VCPU_KIB,
		    "%ld KiB are missing after %d VMs", missing, nr_vms);
}

TEST_F(ending, memory_is_the_hosts_again)
{
	long before;
	int i;

	one_ending(variant->state);
	before = free_kib();
	for (i = 0; i < ENDING_VMS; i++) {
		one_ending(variant->state);
		show_progress("VMs", i, ENDING_VMS);
	}
	expect_level(before, ENDING_VMS, 1);
}

/*
 * Guests that share, take back and touch at random, while the host does as it likes:
 * threads that touch the mapping, that convert and that pin.  SIGBUS and refusals are
 * fine.  What a page holds at MAGIC_AT neither side changes, and all lose it when the
 * kernel has to take a page from the guest by force.
 */
#define CHURN_PAGES	64
#define MAGIC_AT	2048
#define MAGIC(page)	(0x6d61676963000000ul + (page))
#define CHURN_STEPS	64
#define ROUNDS		150

static u64 next_random(u64 *state)
{
	*state = *state * 6364136223846793005ul + 1442695040888963407ul;

	return *state >> 33;
}

static u64 *magic_of(void *mem, u64 page)
{
	return mem + page * PAGE_SIZE + MAGIC_AT;
}

/* Answers 0 after each CHURN_STEPS steps, or what it found instead of the magic. */
static void guest_churner(u64 seed)
{
	u64 i, page, magic;

	for (i = 1; ; i++) {
		page = next_random(&seed) % CHURN_PAGES;
		switch (next_random(&seed) % 4) {
		case 0:
			guest_hypercall(MEM_SHARE, page);
			break;
		case 1:
			guest_hypercall(MEM_UNSHARE, page);
			break;
		case 2:
			WRITE_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE + 1), i);
			break;
		default:
			magic = READ_ONCE(*magic_of((void *)GMEM_GPA, page));
			if (magic != MAGIC(page))
				guest_answer(magic ? magic : -1ul);
			break;
		}
		if (i % CHURN_STEPS == 0)
			guest_answer(0);
	}
}

static struct {
	struct gmem_vm *g;
	bool stop;
	u64 nr_exits;
	u64 nr_sigbus;
	u64 nr_converted;
	u64 nr_refused;
	u64 nr_pinned;
} churn;

static __thread sigjmp_buf touch_jmpbuf;

static void touch_handler(int sig)
{
	siglongjmp(touch_jmpbuf, 1);
}

static bool is_refusal(int r)
{
	/* EINTR: nobody signals, so it is none. */
	return r == -EAGAIN || r == -EPERM;
}

static void *churn_vcpu(void *data)
{
	struct kvm_vcpu *vcpu = data;
	u64 round = 0, value, where;
	enum guest_exit exit;
	int r;

	while (!READ_ONCE(churn.stop) && round < ROUNDS) {
		exit = guest_run(vcpu, &value);
		if (exit == GUEST_ANSWERS) {
			TEST_ASSERT(!value, "vCPU %u found %#lx in a page", vcpu->id, value);
			round++;
			if (!vcpu->id)
				show_progress("rounds", round, ROUNDS);
			continue;
		}

		TEST_ASSERT(exit != GUEST_MISSES_PAGE, "The guest has lost page %#lx", value);
		r = __gmem_convert(vcpu->vm->fd, value, PAGE_SIZE,
				   exit == GUEST_WANTS_PRIVATE ? PRIVATE : SHARED, PRESERVE,
				   &where);
		TEST_ASSERT(!r || is_refusal(r), "%s at %#lx", strerror(-r), where);
		__atomic_fetch_add(&churn.nr_exits, 1, __ATOMIC_RELAXED);
	}

	return NULL;
}

static void *churn_touch(void *data)
{
	u64 seed = (u64)data, page, magic;
	volatile u64 nr = 0;

	while (!READ_ONCE(churn.stop)) {
		page = next_random(&seed) % CHURN_PAGES;
		if (sigsetjmp(touch_jmpbuf, 1)) {
			__atomic_fetch_add(&churn.nr_sigbus, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (nr++ % 2)
			WRITE_ONCE(churn.g->mem[page * PAGE_SIZE], nr);
		magic = READ_ONCE(*magic_of(churn.g->mem, page));
		TEST_ASSERT(magic == MAGIC(page), "The host found %#lx in page %lu", magic, page);
	}

	return NULL;
}

static void *churn_convert(void *data)
{
	u64 seed = (u64)data, first, nr, where, attributes;
	int r;

	while (!READ_ONCE(churn.stop)) {
		first = next_random(&seed) % CHURN_PAGES;
		nr = 1 + next_random(&seed) % min_t(u64, 4, CHURN_PAGES - first);
		attributes = next_random(&seed) % 2 ? PRIVATE : SHARED;
		r = __gmem_convert(churn.g->fd, first * PAGE_SIZE, nr * PAGE_SIZE, attributes,
				   next_random(&seed) % 2 ? PRESERVE : NONE, &where);
		TEST_ASSERT(!r || is_refusal(r), "%s at %#lx", strerror(-r), where);
		__atomic_fetch_add(r ? &churn.nr_refused : &churn.nr_converted, 1,
				   __ATOMIC_RELAXED);
		usleep(next_random(&seed) % 2000);
	}

	return NULL;
}

/* The kernel reads what it holds, after the guest has tried to take it back. */
static void *churn_pin(void *data)
{
	u64 seed = (u64)data, page, magic;
	u8 buffer[PAGE_SIZE];
	int pipefd[2];

	while (!READ_ONCE(churn.stop)) {
		page = next_random(&seed) % CHURN_PAGES;
		if (!pin_in_pipe(churn.g->mem + page * PAGE_SIZE, pipefd)) {
			usleep(next_random(&seed) % 3000);
			TEST_ASSERT_EQ(read(pipefd[0], buffer, PAGE_SIZE), PAGE_SIZE);
			magic = *magic_of(buffer, 0);
			TEST_ASSERT(magic == MAGIC(page), "The kernel found %#lx in page %lu",
				    magic, page);
			__atomic_fetch_add(&churn.nr_pinned, 1, __ATOMIC_RELAXED);
		}
		unpin_pipe(pipefd);
		usleep(next_random(&seed) % 3000);
	}

	return NULL;
}

/* The guest has @nr_more pages besides, which nobody asks for. */
static void churn_all(int nr_vcpus, u64 nr_more)
{
	static void *(*const hosts[])(void *) = { churn_touch, churn_convert, churn_pin };
	struct sigaction sa = { .sa_handler = touch_handler, .sa_flags = SA_NODEFER };
	pthread_t guest_threads[MAX_GUEST_VCPUS], host_threads[ARRAY_SIZE(hosts)];
	struct kvm_vcpu *vcpus[MAX_GUEST_VCPUS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_create_vcpus(&g, CHURN_PAGES + nr_more, GMEM_IN_PLACE, nr_vcpus, vcpus);
	for (i = 0; i < CHURN_PAGES; i++)
		*magic_of(g.mem, i) = MAGIC(i);
	churn.g = &g;
	sigaction(SIGBUS, &sa, NULL);

	if (nr_more)
		guest_start_touching(&g, CHURN_PAGES, nr_more);
	for (i = 0; i < nr_more; i++)
		guest_touch_next(&g);
	for (i = 0; i < nr_vcpus; i++) {
		guest_start(&g, vcpus[i], guest_churner, i + 1, 0, 0);
		kvm_pthread_create(&guest_threads[i], NULL, churn_vcpu, vcpus[i]);
	}
	for (i = 0; i < ARRAY_SIZE(hosts); i++)
		kvm_pthread_create(&host_threads[i], NULL, hosts[i], (void *)(i + 100));
	for (i = 0; i < nr_vcpus; i++)
		kvm_pthread_join(guest_threads[i], NULL);
	WRITE_ONCE(churn.stop, true);
	for (i = 0; i < ARRAY_SIZE(hosts); i++)
		kvm_pthread_join(host_threads[i], NULL);

	printf("# measured: %lu exits, %lu SIGBUS, %lu conversions, %lu refused, %lu pins\n",
	       churn.nr_exits, churn.nr_sigbus, churn.nr_converted, churn.nr_refused,
	       churn.nr_pinned);
	signal(SIGBUS, SIG_DFL);
	gmem_vm_destroy(&g);
}

FIXTURE(churn) {
};

FIXTURE_VARIANT(churn) {
	int nr_vcpus;
};

FIXTURE_VARIANT_ADD(churn, one_vcpu) { .nr_vcpus = 1 };
FIXTURE_VARIANT_ADD(churn, two_vcpus) { .nr_vcpus = 2 };
FIXTURE_VARIANT_ADD(churn, four_vcpus) { .nr_vcpus = 4 };

FIXTURE_SETUP(churn)
{
}

FIXTURE_TEARDOWN(churn)
{
}

TEST_F(churn, neither_side_harms_the_other)
{
	churn_all(variant->nr_vcpus, 0);
}

/* Whatever they are at. */
#define KILLED_VMMS	20
#define MORE_PAGES	256

TEST_F(churn, killed_vmm_leaves_all_memory)
{
	long before = 0;
	int i, status;
	pid_t pid;

	for (i = 0; i < KILLED_VMMS; i++) {
		pid = fork();
		if (!pid) {
			for (;;)
				churn_all(variant->nr_vcpus, MORE_PAGES);
		}
		usleep(200000 + 37000 * (i % 7));
		kill(pid, SIGKILL);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "The VMM ended by itself, with status %#x", status);
		/* The first one fills caches. */
		if (!i)
			before = free_kib();
		show_progress("VMMs", i, KILLED_VMMS);
	}
	expect_level(before, KILLED_VMMS - 1, variant->nr_vcpus);
}

TEST_HARNESS_MAIN
