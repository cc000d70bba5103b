// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd's write protection: markers in page tables, even where there has never been a
 * page.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/userfaultfd.h>

#include "gmem_harness.h"
#include "gmem_util.h"

FIXTURE(marks) {
	struct gmem_vm g;
	int uffd;
};

FIXTURE_SETUP(marks)
{
	const u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (self->uffd < 0 || ioctl(self->uffd, UFFDIO_API, &api))
		SKIP(exit(KSFT_SKIP), "needs CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP");

	reg.range.start = (uintptr_t)self->g.mem;
	reg.range.len = GMEM_PAGES * PAGE_SIZE;
	TEST_ASSERT(!ioctl(self->uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s",
		    strerror(errno));
}

FIXTURE_TEARDOWN(marks)
{
	close(self->uffd);
	gmem_vm_destroy(&self->g);
}

static void mark(int uffd, struct gmem_vm *g, bool set)
{
	struct uffdio_writeprotect wp = {
		.range.start = (uintptr_t)g->mem,
		.range.len = GMEM_PAGES * PAGE_SIZE,
		.mode = set ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), "UFFDIO_WRITEPROTECT: %s",
		    strerror(errno));
}

/* Has the page been written since it was marked, as a migration would ask the kernel? */
static bool is_written(struct gmem_vm *g, u64 page)
{
	struct page_region region = {};
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)g->mem + page * PAGE_SIZE,
		.end = (uintptr_t)g->mem + (page + 1) * PAGE_SIZE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY), r;

	TEST_ASSERT(fd >= 0, "open(/proc/self/pagemap) failed");
	r = ioctl(fd, PAGEMAP_SCAN, &arg);
	TEST_ASSERT(r >= 0, "PAGEMAP_SCAN: %s", strerror(errno));
	close(fd);

	return r == 1;
}

/* A fault on a marker that is not resolved repeats forever, and is ended as a hang. */
TEST_F(marks, reads_and_writes_where_no_page_has_been)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	mark(self->uffd, g, true);
	for (i = 0; i < GMEM_HALF; i++) {
		TEST_ASSERT_EQ(host_read(g, i), 0);
		TEST_ASSERT(!is_written(g, i), "Reading page %lu has unmarked it", i);
	}
	for (i = 0; i < GMEM_PAGES; i++) {
		host_write(g, i, letter(i));
		TEST_ASSERT(is_written(g, i), "Writing page %lu has not unmarked it", i);
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	}
	expect_letters_and_no_holder(g);
}

/* The neighbours of a touched page are present and marked, and must stay so. */
TEST_F(marks, reads_and_writes_beside_pages_that_are_there)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	/* In the file, but not in the page tables. */
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter(i));
	mark(self->uffd, g, true);
	TEST_ASSERT_EQ(host_read(g, 3), letter(3));
	host_write(g, 5, 'w');
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT(is_written(g, i) == (i == 5), "Page %lu is %swritten", i,
			    i == 5 ? "not " : "");
	host_write(g, 5, letter(5));
	expect_letters_and_no_holder(g);
}

/* Marks on pages that are mapped, and what conversions leave of them. */
TEST_F(marks, reads_and_writes_after_conversions)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	write_letters(g);
	mark(self->uffd, g, true);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	/* Private pages can be marked and unmarked as well. */
	mark(self->uffd, g, true);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	expect_letters_and_no_holder(g);

	mark(self->uffd, g, true);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	mark(self->uffd, g, false);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, NONE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i),
			       expected(NONE, expected(ANY_TO_PRIVATE, letter(i))));
	write_letters(g);
	expect_letters_and_no_holder(g);
}

/* Accesses by the kernel itself: it first looks at the page tables without faulting. */
TEST_F(marks, system_calls_on_marked_pages)
{
	struct gmem_vm *g = &self->g;
	int zero = open("/dev/zero", O_RDONLY), pipefd[2];
	u8 buffer[PAGE_SIZE];
	u64 i;

	write_letters(g);
	punch_hole(g, 0, 4);
	mark(self->uffd, g, true);
	TEST_ASSERT(!pipe(pipefd), "pipe() failed");
	for (i = 0; i < GMEM_PAGES; i++) {
		TEST_ASSERT_EQ(write(pipefd[1], g->mem + i * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT_EQ(read(pipefd[0], buffer, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT_EQ(buffer[PAGE_SIZE - 1], i < 4 ? 0 : letter(i));
		TEST_ASSERT_EQ(read(zero, g->mem + i * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT(is_written(g, i), "Page %lu is not written", i);
	}
	close(pipefd[0]);
	close(pipefd[1]);
	close(zero);

	mark(self->uffd, g, true);
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_POPULATE_READ),
		    "MADV_POPULATE_READ: %s", strerror(errno));
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_POPULATE_WRITE),
		    "MADV_POPULATE_WRITE: %s", strerror(errno));
	write_letters(g);
	expect_letters_and_no_holder(g);
}

TEST_HARNESS_MAIN
