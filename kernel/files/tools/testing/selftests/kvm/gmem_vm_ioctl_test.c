// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_SET_MEMORY_ATTRIBUTES2 on the VM, by guest physical address: across slots, files,
 * gaps and other memory, and across more addresses than exist.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

static bool stop;

/*
 * The VM ioctl: guest physical addresses.  The layout, in pages from GMEM_GPA: [0, 16) is
 * the fixture's file, [16, 20) nothing, [20, 24) two backings, if supported, [24, 32) the
 * second half of another file and then, out of order, its first half.
 */
#define HOLE_PAGE	16
#define OLD_PAGE	20
#define OTHER_PAGE	24
#define END_PAGE	32

FIXTURE(vm_ioctl) {
	struct gmem_vm g;
	struct gmem_vm other;
};

FIXTURE_SETUP(vm_ioctl)
{
	struct gmem_vm *g = &self->g, *other = &self->other;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);

	if (HAS_TWO_BACKINGS)
		vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS,
					    GMEM_GPA + OLD_PAGE * PAGE_SIZE, GMEM_SLOT + 1, 4,
					    KVM_MEM_GUEST_MEMFD);
	virt_map(g->vm, GMEM_GPA + OLD_PAGE * PAGE_SIZE, GMEM_GPA + OLD_PAGE * PAGE_SIZE,
		 OTHER_PAGE - OLD_PAGE);
	bind_other(g, other, END_PAGE - OTHER_PAGE, OTHER_PAGE, GMEM_SLOT + 2);
}

FIXTURE_TEARDOWN(vm_ioctl)
{
	close_other(&self->other);
	gmem_vm_destroy(&self->g);
}

TEST_F(vm_ioctl, one_slot_like_its_file)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'a');
	TEST_ASSERT_EQ(try_convert_gpa(g, 2, 4, PRIVATE, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(g, 0, 2, SHARED);
	expect_state(g, 2, 4, PRIVATE);
	expect_state(g, 6, GMEM_PAGES - 6, SHARED);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');
	guest_agrees(g, 2, 4);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, GMEM_PAGES, SHARED, ZERO, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 3), 0);
}

TEST_F(vm_ioctl, slots_files_holes_and_two_backings_in_one_range)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT_EQ(try_convert_gpa(g, 8, END_PAGE - 10, PRIVATE, NONE, &where), 0);
	expect_state(g, 0, 8, SHARED);
	expect_state(g, 8, 8, PRIVATE);
	/*
	 * The guest has the second half of the other file first, and then two pages of its
	 * first half.
	 */
	expect_state(other, 4, 4, PRIVATE);
	expect_state(other, 0, 2, PRIVATE);
	expect_state(other, 2, 2, SHARED);
	TEST_ASSERT_EQ(guest_read(g, 8), expected(NONE, 0));
	TEST_ASSERT_EQ(guest_read(g, OTHER_PAGE), expected(NONE, 0));
	guest_write(g, OLD_PAGE, 'p');

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, SHARED, NONE, &where), 0);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, 8, SHARED);
	TEST_ASSERT_EQ(host_read(other, 4), expected(NONE, 0));
	TEST_ASSERT_EQ(host_read(other, 2), 0);
	TEST_ASSERT_EQ(guest_read(g, OLD_PAGE), 0);
}

TEST_F(vm_ioctl, outside_of_files_only_none_is_supported)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT_EQ(try_convert_gpa(g, 8, 16, PRIVATE, ANY_TO_PRIVATE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, HOLE_PAGE);
	TEST_ASSERT_EQ(try_convert_gpa(g, OLD_PAGE + 1, 2, PRIVATE, PRESERVE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, OLD_PAGE + 1);
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE - 1, 2, PRIVATE, ANY_TO_PRIVATE, &where),
		       -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, END_PAGE);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(&self->other, 0, 8, SHARED);

	/* Without any slot it behaves like the old ioctl. */
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE, 16, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE, 16, SHARED, NONE, &where), 0);
}

TEST_F(vm_ioctl, all_or_nothing_over_all_parts)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	int pipefd[2], fd;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	host_write(g, 1, 'a');
	/* Page 2 of the other file is page 30 of the guest. */
	TEST_ASSERT_EQ(pin_in_pipe(other->mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, OTHER_PAGE + 6);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, 8, SHARED);
	TEST_ASSERT_EQ(host_read(g, 1), 'a');
	guest_write(g, OLD_PAGE, 's');
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, GMEM_GPA + OLD_PAGE * PAGE_SIZE), 's');

	/* The lowest guest address is reported, not the lowest page of a file. */
	TEST_ASSERT_EQ(pin_longterm(other->mem + 7 * PAGE_SIZE, &fd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, OTHER_PAGE + 3);
	close(fd);
	unpin_pipe(pipefd);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	expect_state(other, 0, 8, PRIVATE);
}

TEST_F(vm_ioctl, wrong_requests)
{
	struct kvm_vm *plain = vm_create_barebones();
	struct gmem_vm *g = &self->g;
	u64 where;

	TEST_ASSERT_EQ(__gmem_convert(plain->fd, 0, PAGE_SIZE, PRIVATE, NONE, NULL), -ENOTTY);
	kvm_vm_free(plain);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, 0, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, 1, 1, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, 1, PRIVATE, 3, &where), -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, -PAGE_SIZE, PAGE_SIZE, PRIVATE, NONE, &where),
		       -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + 1, PAGE_SIZE, PRIVATE, NONE, &where),
		       -EINVAL);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(g, 0, GMEM_PAGES, SHARED);
}

static void *convert_the_file(void *__g)
{
	struct gmem_vm *g = __g;
	u64 i = 0;

	while (!READ_ONCE(stop)) {
		int r = __gmem_convert(g->fd, 0, g->nr_pages * PAGE_SIZE,
				       i++ % 2 ? PRIVATE : SHARED, ANY_TO_PRIVATE, NULL);

		TEST_ASSERT(!r, "Conversion of the file failed: %s", strerror(-r));
	}

	return NULL;
}

/* Both ioctls on the same files, slots that are created and deleted, a file that is closed. */
TEST_F(vm_ioctl, races_with_files_and_slots)
{
	const u64 gpa = GMEM_GPA + (END_PAGE + 8) * PAGE_SIZE;
	struct gmem_vm *g = &self->g, *other = &self->other;
	pthread_t threads[2];
	u64 round, where;
	int fd, r;

	ONLY_IF(HAS_TWO_BACKINGS);
	kvm_pthread_create(&threads[0], NULL, convert_the_file, g);
	kvm_pthread_create(&threads[1], NULL, convert_the_file, other);

	for (round = 0; round < 300; round++) {
		show_progress("rounds", round, 300);
		fd = vm_create_guest_memfd(g->vm, 4 * PAGE_SIZE, GMEM_IN_PLACE);
		vm_set_user_memory_region2(g->vm, GMEM_SLOT + 4, KVM_MEM_GUEST_MEMFD, gpa,
					   4 * PAGE_SIZE, g->mem, fd, 0);
		r = try_convert_gpa(g, 0, END_PAGE + 16, round % 2 ? PRIVATE : SHARED, NONE,
				    &where);
		TEST_ASSERT(!r, "Round %lu: %s at page %lu", round, strerror(-r), where);
		close(fd);
		/* The slot whose file is closed cannot be converted, and reports that. */
		r = try_convert_gpa(g, 0, END_PAGE + 16, PRIVATE, NONE, &where);
		TEST_ASSERT_EQ(r, -EINVAL);
		vm_set_user_memory_region2(g->vm, GMEM_SLOT + 4, KVM_MEM_GUEST_MEMFD, gpa,
					   0, g->mem, -1, 0);
	}

	WRITE_ONCE(stop, true);
	kvm_pthread_join(threads[0], NULL);
	kvm_pthread_join(threads[1], NULL);
}

/*
 * The VM ioctl across more guest physical addresses than exist.  Each case is a process of
 * its own, as one that cannot be killed must not take the test with it.
 */
#define EVERYTHING	BIT_ULL(52)
#define FAR_GPA		BIT_ULL(40)
#define OLD_GPA		(GMEM_GPA + 64 * PAGE_SIZE)

FIXTURE(everything) {
};

FIXTURE_SETUP(everything)
{
	struct gmem_vm probe;

	/* Skips if there is nothing to convert. */
	gmem_vm_create(&probe, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&probe);
}

FIXTURE_TEARDOWN(everything)
{
}

static int convert_vm(struct gmem_vm *g, u64 gpa, u64 size, u64 attributes, u64 policy, u64 *where)
{
	return __gmem_convert(g->vm->fd, gpa, size, attributes, policy, where);
}

/* An in-place slot, one with two backings, and private gfns without a slot. */
static void everything_create(struct gmem_vm *g)
{
	u64 where;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, OLD_GPA, GMEM_SLOT + 1, 4,
				    KVM_MEM_GUEST_MEMFD);
	virt_map(g->vm, OLD_GPA, OLD_GPA, 4);
	host_write(g, 3, 'a');
	memset(addr_gpa2hva(g->vm, OLD_GPA), 's', PAGE_SIZE);
	TEST_ASSERT_EQ(convert_vm(g, GMEM_GPA, 128 * PAGE_SIZE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_vm(g, FAR_GPA, PAGE_SIZE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_vm(g, EVERYTHING - PAGE_SIZE, PAGE_SIZE, PRIVATE, NONE, &where), 0);
}

static void run_in_child(void (*fn)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		fn();
		_exit(0);
	}
	if (!child_ends(pid, &status)) {
		kill(pid, SIGKILL);
		TEST_FAIL("The call does not end");
	}
	TEST_ASSERT(!status, "The child ended with status %#x", status);
}

static void everything_to_shared(void)
{
	struct gmem_vm g;
	u64 where;

	everything_create(&g);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(&g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(&g, 3), expected(NONE, 0));
	/* Page 64 of the guest is page 0 of the old slot. */
	TEST_ASSERT_EQ(guest_read(&g, 64), 's');
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	gmem_vm_destroy(&g);
}

TEST_F(everything, becomes_shared)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_to_shared);
}

static void everything_that_is_refused(void)
{
	struct gmem_vm g;
	u64 where;

	everything_create(&g);
	TEST_ASSERT_EQ(convert_vm(&g, GMEM_GPA, EVERYTHING - GMEM_GPA, SHARED, ZERO, &where),
		       -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, GMEM_GPA + GMEM_PAGES * PAGE_SIZE);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 0);
	TEST_ASSERT_EQ(convert_vm(&g, PAGE_SIZE, -PAGE_SIZE, SHARED, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(&g, 0, GMEM_PAGES, PRIVATE);
	gmem_vm_destroy(&g);
}

TEST_F(everything, is_refused_at_the_lowest_address)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_that_is_refused);
}

static void everything_with_a_poisoned_page(void)
{
	struct gmem_vm g;
	u64 pfn, where;
	int r;

	gmem_vm_create(&g, GMEM_PAGES, GMEM_IN_PLACE);
	host_write(&g, 5, 'b');
	pfn = pfn_of(&g, 5);
	gmem_convert(&g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(convert_vm(&g, FAR_GPA, PAGE_SIZE, PRIVATE, NONE, &where), 0);
	r = poison_frame(pfn);
	TEST_ASSERT(!r || r == -ENOENT, "Cannot poison frame %#lx: %s", pfn, strerror(-r));
	if (r == -ENOENT)
		return;

	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, GMEM_GPA + 5 * PAGE_SIZE);
	expect_state(&g, 0, GMEM_PAGES, PRIVATE);
	punch_hole(&g, 5, 1);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	gmem_vm_destroy(&g);
}

TEST_F(everything, is_refused_because_of_a_poisoned_page)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_with_a_poisoned_page);
}

/* More gfns than there is memory to track: ends by itself, or is killed. */
TEST_F(everything, becomes_private_until_it_is_killed)
{
	int to_parent[2], status;
	struct gmem_vm g;
	u64 where;
	pid_t pid;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT(!pipe(to_parent), "pipe() failed");
	pid = fork();
	if (!pid) {
		gmem_vm_create(&g, GMEM_PAGES, GMEM_IN_PLACE);
		tell(to_parent[1]);
		convert_vm(&g, 0, BIT_ULL(40), PRIVATE, NONE, &where);
		_exit(0);
	}
	close(to_parent[1]);
	hear(to_parent[0]);
	usleep(100000);
	kill(pid, SIGKILL);
	TEST_ASSERT(child_ends(pid, &status), "The call does not end, nor is it killed");
}

TEST_HARNESS_MAIN
