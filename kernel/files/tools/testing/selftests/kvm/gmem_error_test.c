// SPDX-License-Identifier: GPL-2.0
/*
 * Conversions that are refused: nothing changes, and error_offset is exact.  Invalid
 * fields, bad pointers, pages that are held, memory errors.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"

GMEM_FIXTURE(error, GMEM_PAGES)

TEST_F(error, every_wrong_field_is_einval)
{
	const struct kvm_memory_attributes2 good = {
		.offset = PAGE_SIZE,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.flags = ANY_TO_PRIVATE,
		.error_offset = POISON,
	};
	const u64 total = GMEM_PAGES * PAGE_SIZE;
	struct gmem_vm *g = &self->g;
	struct kvm_memory_attributes2 bad[160];
	int n = 0, i;

#define BAD(assignment)		\
	do {			\
		bad[n] = good;	\
		bad[n].assignment;	\
		n++;		\
	} while (0)

	BAD(size = 0);
	BAD(size = 1);
	BAD(size = PAGE_SIZE - 1);
	BAD(size = PAGE_SIZE + 1);
	BAD(size = total);
	BAD(size = 1ull << 63);
	BAD(size = -PAGE_SIZE);
	BAD(size = -2 * PAGE_SIZE);
	BAD(offset = 1);
	BAD(offset = PAGE_SIZE - 1);
	BAD(offset = total);
	BAD(offset = total + PAGE_SIZE);
	BAD(offset = 1ull << 63);
	BAD(offset = (1ull << 63) - PAGE_SIZE);
	BAD(offset = -PAGE_SIZE);
	for (i = 0; i < 64; i++) {
		if (i != 3)
			BAD(attributes |= 1ull << i);
	}
	BAD(flags = 3);
	for (i = 2; i < 64; i++)
		BAD(flags = 1ull << i);
	for (i = 0; i < ARRAY_SIZE(good.reserved); i++)
		BAD(reserved[i] = 1ull << (i * 5));
#undef BAD

	for (i = 0; i < n; i++) {
		TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, &bad[i]) == -1 &&
			    errno == EINVAL,
			    "Request %d should be EINVAL: offset %#llx size %#llx attributes %#llx flags %#llx",
			    i, bad[i].offset, bad[i].size, bad[i].attributes, bad[i].flags);
		TEST_ASSERT_EQ(bad[i].error_offset, POISON);
	}
	expect_state(g, 0, GMEM_PAGES, SHARED);
}

TEST_F(error, bad_pointer_is_efault)
{
	struct kvm_memory_attributes2 *ro, attrs = {
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.flags = ANY_TO_PRIVATE,
	};
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, NULL) == -1 && errno == EFAULT,
		    "NULL should fail with EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, -1ul) == -1 && errno == EFAULT,
		    "-1 should fail with EFAULT");
	expect_state(g, 0, GMEM_PAGES, SHARED);

	/* A struct that cannot be written back does not hide that a conversion succeeded. */
	ro = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	*ro = attrs;
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, ro), 0);
	expect_state(g, 0, 1, PRIVATE);

	/* A failure that cannot be reported is still a failure. */
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect() failed");
	ro->offset = 4 * PAGE_SIZE;
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 4 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, ro) == -1 && errno == EFAULT,
		    "EAGAIN without a place for its offset should fail with EFAULT");
	unpin_pipe(pipefd);
	expect_state(g, 1, GMEM_PAGES - 1, SHARED);

	/* The struct may be in the very page that is converted, as long as that is shared. */
	attrs.offset = 2 * PAGE_SIZE;
	memcpy(g->mem + 2 * PAGE_SIZE, &attrs, sizeof(attrs));
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, g->mem + 2 * PAGE_SIZE), 0);
	expect_state(g, 2, 1, PRIVATE);
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, g->mem + 2 * PAGE_SIZE) == -1 &&
		    errno == EFAULT, "A struct in private memory should fail with EFAULT");
}

static void expect_eagain(struct gmem_vm *g, u64 page, u64 nr, u64 at)
{
	u64 where;

	TEST_ASSERT_EQ(__gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE,
				      PRIVATE, ANY_TO_PRIVATE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, at * PAGE_SIZE);
}

/* With page 2 of 8 held in the way that @unpin undoes. */
static void pinned_page_cases(struct gmem_vm *g)
{
	u64 i;

	expect_eagain(g, 0, 8, 2);
	expect_eagain(g, 2, 6, 2);
	expect_eagain(g, 2, 1, 2);
	expect_eagain(g, 1, GMEM_PAGES - 1, 2);

	expect_state(g, 0, GMEM_PAGES, SHARED);
	for (i = 0; i < 8; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));

	/* A conversion to shared ignores who holds a page. */
	gmem_convert(g, 0, 8, SHARED, ZERO);

	for (i = 0; i < 8; i++) {
		if (i == 2)
			continue;
		gmem_convert(g, i, 1, PRIVATE, PRESERVE);
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	}
	expect_eagain(g, 0, 8, 2);
	TEST_ASSERT_EQ(host_read(g, 2), letter(2));
}

TEST_F(error, page_in_a_pipe_is_eagain)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];
	u64 i;

	for (i = 0; i < 8; i++)
		host_write(g, i, letter(i));
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 2 * PAGE_SIZE, pipefd), 0);
	pinned_page_cases(g);
	unpin_pipe(pipefd);
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 2), letter(2));
}

TEST_F(error, longterm_pin_is_eagain)
{
	struct gmem_vm *g = &self->g;
	u64 i;
	int fd;

	for (i = 0; i < 8; i++)
		host_write(g, i, letter(i));
	TEST_ASSERT_EQ(pin_longterm(g->mem + 2 * PAGE_SIZE, &fd), 0);
	pinned_page_cases(g);
	close(fd);
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 2), letter(2));
}

TEST_F(error, lowest_pinned_page_is_reported)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2], fd;

	TEST_ASSERT_EQ(pin_longterm(g->mem + 9 * PAGE_SIZE, &fd), 0);
	expect_eagain(g, 0, GMEM_PAGES, 9);
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 6 * PAGE_SIZE, pipefd), 0);
	expect_eagain(g, 0, GMEM_PAGES, 6);
	expect_eagain(g, 7, 4, 9);
	unpin_pipe(pipefd);
	expect_eagain(g, 0, GMEM_PAGES, 9);
	close(fd);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
}

TEST_F(error, poisoned_page_is_ehwpoison_until_punched)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'a');
	host_write(g, 5, 'b');
	if (!poison_page(g, 5))
		SKIP(return, "MADV_HWPOISON needs CONFIG_MEMORY_FAILURE");

	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE,
				      &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5 * PAGE_SIZE);
	gmem_convert(g, 0, 5, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');

	punch_hole(g, 5, 1);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 5), 0);
}

/* A page that the host cannot map is poisoned by its frame, as hardware does it. */
TEST_F(error, poisoned_private_page_does_not_become_shared)
{
	struct gmem_vm *g = &self->g;
	u64 pfn, where;
	int r;

	host_write(g, 3, 'a');
	host_write(g, 5, 'b');
	pfn = pfn_of(g, 5);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	r = poison_frame(pfn);
	if (r == -ENOENT)
		SKIP(return, "needs CONFIG_HWPOISON_INJECT and debugfs");
	TEST_ASSERT(!r, "Cannot poison frame %#lx: %s", pfn, strerror(-r));

	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, SHARED, PRESERVE,
				      &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5 * PAGE_SIZE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');

	punch_hole(g, 5, 1);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
	TEST_ASSERT_EQ(host_read(g, 5), 0);
}

TEST_HARNESS_MAIN
