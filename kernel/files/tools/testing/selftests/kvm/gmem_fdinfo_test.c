// SPDX-License-Identifier: GPL-2.0
/*
 * The fdinfo of a file in place: sizes, tracking, memslots; also while memslots, files and
 * VMs disappear.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

GMEM_FIXTURE(fdinfo, GMEM_PAGES)

static void expect_sizes(int fd, u64 private, u64 shared, u64 allocated)
{
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-size"), (private + shared) * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"), private * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-shared"), shared * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-allocated"), allocated * PAGE_SIZE);
}

TEST_F(fdinfo, fdinfo_has_what_was_done)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT_EQ(fdinfo_number(g->fd, "gmem-in-place"), 1);
	TEST_ASSERT_EQ(fdinfo_number(g->fd, "gmem-vm"), getpid());
	expect_sizes(g->fd, 0, 16, 0);
	host_write(g, 2, 'a');
	host_write(g, 9, 'b');
	expect_sizes(g->fd, 0, 16, 2);
	gmem_convert(g, 1, 5, PRIVATE, ANY_TO_PRIVATE);
	expect_sizes(g->fd, 5, 11, 2);
	gmem_convert(g, 4, 4, PRIVATE, ANY_TO_PRIVATE);
	expect_sizes(g->fd, 7, 9, 2);

	/* A refused call changes nothing. */
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 9 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, 16 * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL),
		       -EAGAIN);
	unpin_pipe(pipefd);
	expect_sizes(g->fd, 7, 9, 2);

	punch_hole(g, 9, 1);
	expect_sizes(g->fd, 7, 9, 1);
	gmem_convert(g, 0, 16, SHARED, ZERO);
	expect_sizes(g->fd, 0, 16, 1);
}

#define LARGE_PAGES	(SZ_1G / PAGE_SIZE * 2)

TEST_F(fdinfo, tracking_is_given_back)
{
	int fd = gmem_file_create(&self->g, LARGE_PAGES);
	long mixed;
	u64 i;

	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-tracking"), 0);
	for (i = 0; i < 64; i++)
		gmem_file_convert(fd, 4096 * i + 1, 1, PRIVATE);
	mixed = fdinfo_number(fd, "gmem-tracking");
	TEST_ASSERT(mixed >= 64 * 128 && mixed < 64 * 1024, "The tracking takes %ld bytes", mixed);

	/* One leaf may be kept, with the nodes above it. */
	for (i = 0; i < 64; i++)
		gmem_file_convert(fd, 4096 * i + 1, 1, SHARED);
	TEST_ASSERT(fdinfo_number(fd, "gmem-tracking") <= 128 + 2 * 512,
		    "The tracking takes %ld bytes", fdinfo_number(fd, "gmem-tracking"));

	gmem_file_convert(fd, 0, LARGE_PAGES, PRIVATE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-tracking"), 0);
	close(fd);
}

/* How many lines about memslots the fdinfo has, and how many of them are as expected. */
static int nr_slots(int fd, u32 slot, u64 gpa, u64 size, u64 offset, int *nr_right)
{
	char path[64], line[256], expected[256];
	int nr = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	snprintf(expected, sizeof(expected),
		 "gmem-slot:\t%u gpa 0x%lx size 0x%lx offset 0x%lx\n", slot, gpa, size, offset);
	file = fopen(path, "r");
	TEST_ASSERT(file, "fopen(%s) failed", path);
	for (*nr_right = 0; fgets(line, sizeof(line), file); ) {
		nr += !strncmp(line, "gmem-slot:", 10);
		*nr_right += !strcmp(line, expected);
	}
	fclose(file);

	return nr;
}

/* A size that is not a power of two, which KVM keeps as several entries. */
#define ODD_PAGES	13

TEST_F(fdinfo, each_memslot_is_shown_once)
{
	u64 gpa = GMEM_GPA + 2 * GMEM_PAGES * PAGE_SIZE, size = ODD_PAGES * PAGE_SIZE;
	int fd = gmem_file_create(&self->g, 2 * ODD_PAGES), nr_right;
	u8 *mem = kvm_mmap(2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	TEST_ASSERT_EQ(nr_slots(self->g.fd, GMEM_SLOT, GMEM_GPA, GMEM_PAGES * PAGE_SIZE, 0,
				&nr_right), 1);
	TEST_ASSERT_EQ(nr_right, 1);
	TEST_ASSERT_EQ(nr_slots(fd, 0, 0, 0, 0, &nr_right), 0);

	vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD, gpa, size,
				   mem + size, fd, size);
	TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 1, gpa, size, size, &nr_right), 1);
	TEST_ASSERT_EQ(nr_right, 1);
	vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD, gpa + size,
				   size, mem, fd, 0);
	TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 2, gpa + size, size, 0, &nr_right), 2);
	TEST_ASSERT_EQ(nr_right, 1);

	if (SLOTS_CAN_GO) {
		vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 1, 0, gpa, 0, NULL, 0, 0);
		TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 2, gpa + size, size, 0, &nr_right), 1);
		TEST_ASSERT_EQ(nr_right, 1);
	}
	kvm_munmap(mem, 2 * size);
	close(fd);
}

/* While everything is created and destroyed */

/* Nothing else gets this file descriptor, so it is such a file, or closed. */
#define LOOKED_FD	500
#define LOOKED_SLOTS	4
#define LOOKED_SIZE	(4 * PAGE_SIZE)
#define NR_VMS		24
#define NR_STEPS	6

static u64 looked_gpa(int i)
{
	return GMEM_GPA + i * LOOKED_SIZE;
}

/* The guest has the file in reverse order, slot by slot. */
static u64 looked_offset(int i)
{
	return (LOOKED_SLOTS - 1 - i) * LOOKED_SIZE;
}

FIXTURE(looking) {
};

FIXTURE_SETUP(looking)
{
	struct gmem_vm g;

	/* Skips if there is nothing to look at. */
	gmem_vm_create(&g, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&g);
}

FIXTURE_TEARDOWN(looking)
{
}

struct looking {
	/* Successful looks, and looks at a file that was already closed. */
	u64 nr_seen;
	u64 nr_gone;
	bool stop;
};

/* Each memslot is shown as it was created, at most once, in the order of guest addresses. */
static void look_at_fdinfo(void)
{
	unsigned long gpa, size, offset;
	int slot, last = -1, nr_read, i;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", LOOKED_FD);
	file = fopen(path, "r");
	TEST_ASSERT(file || errno == ENOENT, "fopen(%s): %s", path, strerror(errno));
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "gmem-slot:", 10))
			continue;

		nr_read = sscanf(line, "gmem-slot: %d gpa %lx size %lx offset %lx", &slot, &gpa,
				 &size, &offset);
		i = slot - GMEM_SLOT;
		TEST_ASSERT(nr_read == 4 && i > last && i < LOOKED_SLOTS &&
			    gpa == looked_gpa(i) && size == LOOKED_SIZE &&
			    offset == looked_offset(i),
			    "After memslot %d: %s", last + GMEM_SLOT, line);
		last = i;
	}
	if (file)
		fclose(file);
}

static void *look(void *data)
{
	struct looking *l = data;
	u64 page, size, attributes, nr_pages = LOOKED_SLOTS * LOOKED_SIZE / PAGE_SIZE;
	int r;

	for (page = 0; !READ_ONCE(l->stop); page = (page + 1) % nr_pages) {
		look_at_fdinfo();
		r = __gmem_get(LOOKED_FD, page * PAGE_SIZE, &size, &attributes);
		TEST_ASSERT(!r || r == -EBADF, "The getter failed: %s", strerror(-r));
		if (r) {
			WRITE_ONCE(l->nr_gone, l->nr_gone + 1);
			continue;
		}
		TEST_ASSERT(size && page + size / PAGE_SIZE <= nr_pages &&
			    !(attributes & ~PRIVATE), "%lu bytes from page %lu on are %#lx", size,
			    page, attributes);
		WRITE_ONCE(l->nr_seen, l->nr_seen + 1);
	}

	return NULL;
}

/* Wait until one look has both started and ended. */
static void wait_for_looks(struct looking *l)
{
	u64 before = READ_ONCE(l->nr_seen);

	while (READ_ONCE(l->nr_seen) - before < 2)
		sched_yield();
}

static void churn(struct gmem_vm *g, u8 *mem, struct looking *l)
{
	int step, i;

	for (step = 0; step < NR_STEPS; step++) {
		for (i = 0; i < LOOKED_SLOTS && (!step || SLOTS_CAN_GO); i++)
			vm_set_user_memory_region2(g->vm, GMEM_SLOT + i, KVM_MEM_GUEST_MEMFD,
						   looked_gpa(i), LOOKED_SIZE,
						   mem + looked_offset(i), LOOKED_FD,
						   looked_offset(i));
		gmem_file_convert(LOOKED_FD, step, LOOKED_SLOTS, step % 2 ? SHARED : PRIVATE);
		wait_for_looks(l);
		for (i = 0; i < LOOKED_SLOTS && step + 1 < NR_STEPS && SLOTS_CAN_GO; i++)
			vm_set_user_memory_region2(g->vm, GMEM_SLOT + i, 0, looked_gpa(i), 0,
						   NULL, 0, 0);
	}
}

/* A reader briefly holds the file, so it may drop the last reference to the file and the VM. */
TEST_F(looking, while_memslots_files_and_vms_go)
{
	struct looking l = {};
	struct kvm_vcpu *vcpu;
	struct gmem_vm g;
	pthread_t thread;
	int i, fd;
	u8 *mem;

	pthread_create(&thread, NULL, look, &l);
	for (i = 0; i < NR_VMS; i++) {
		show_progress("VMs", i, NR_VMS);
		g = (struct gmem_vm){};
		guest_create(&g, 1, &vcpu);
		fd = gmem_file_create(&g, LOOKED_SLOTS * LOOKED_SIZE / PAGE_SIZE);
		TEST_ASSERT_EQ(dup2(fd, LOOKED_FD), LOOKED_FD);
		close(fd);
		mem = kvm_mmap(LOOKED_SLOTS * LOOKED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			       LOOKED_FD);
		churn(&g, mem, &l);
		kvm_munmap(mem, LOOKED_SLOTS * LOOKED_SIZE);

		/*
		 * Close the file first; or destroy the VM, which the file keeps alive
		 * without its process.
		 */
		if (i % 2)
			close(LOOKED_FD);
		guest_destroy(&g);
		if (i % 2 == 0) {
			wait_for_looks(&l);
			close(LOOKED_FD);
		}
	}
	WRITE_ONCE(l.stop, true);
	pthread_join(thread, NULL);

	printf("# measured: %lu looks at files of %d VMs, %lu at what was closed\n", l.nr_seen,
	       NR_VMS, l.nr_gone);
}

TEST_HARNESS_MAIN
