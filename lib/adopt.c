// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Memories from files and mappings of the caller's, with their present states. */
#include <errno.h>
#include <sys/stat.h>

#include "internal.h"

#define BITS_PER_WORD	64u

/* 0, or -EINVAL if there are not @size bytes from @offset on. Only files have a size. */
static int check_file(int fd, uint64_t offset, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;

	return (uint64_t)st.st_size < size || (uint64_t)st.st_size - size < offset ? -EINVAL : 0;
}

static int check_in_place(const struct gmem *gmem, int shared_fd)
{
	struct stat st;
	uint64_t where;
	int r;

	if ((shared_fd >= 0 && shared_fd != gmem->private_fd) || gmem->shared_offset)
		return -EINVAL;
	/* The VM has this call as well, and is no regular file; nor is a vCPU. */
	if (fstat(gmem->private_fd, &st) || !S_ISREG(st.st_mode))
		return -ENOTTY;

	/* A file that converts refuses a range without a size; nothing changes. */
	r = set_attributes_in_place(gmem->private_fd, 0, 0, false, 0, &where);
	return r == -EINVAL ? 0 : r;
}

static int check_two_backings(const struct gmem *gmem, int shared_fd)
{
	if (shared_fd < 0)
		return gmem->hva && !gmem->shared_offset ? 0 : -EINVAL;

	return check_file(shared_fd, gmem->shared_offset, gmem->size);
}

static bool is_told_private(const uint64_t *private_pages, uint64_t page)
{
	return private_pages[page / BITS_PER_WORD] >> (page % BITS_PER_WORD) & 1;
}

/* How many pages from @page on, within one word, have the same state: one, or all of them. */
static uint64_t pages_alike(const uint64_t *private_pages, uint64_t page)
{
	uint64_t word = private_pages[page / BITS_PER_WORD];

	return page % BITS_PER_WORD == 0 && (word == 0 || word == UINT64_MAX) ? BITS_PER_WORD : 1;
}

static void take_told(struct states *states, const uint64_t *private_pages)
{
	uint64_t page, end;
	bool is_private;

	for (page = 0; page < states->nr_pages; page = end) {
		is_private = is_told_private(private_pages, page);
		end = page + pages_alike(private_pages, page);
		while (end < states->nr_pages && is_told_private(private_pages, end) == is_private)
			end += pages_alike(private_pages, end);
		if (end > states->nr_pages)
			end = states->nr_pages;
		states_set(states, page, end, is_private);
	}
}

/* Nobody else knows the memory yet, so nobody is told. */
static int take_kernels(struct gmem *gmem)
{
	struct gmem_range difference;
	uint64_t at = 0;
	int r;

	if (gmem->vm->probe.mechanism == GMEM_TWO_BACKINGS)
		return -EOPNOTSUPP;
	while ((r = next_difference(gmem, &at, &difference)) > 0)
		take_difference(&difference);

	return r;
}

API int gmem_adopt(struct gmem_vm *vm, uint64_t size, int private_fd, int shared_fd,
		   const struct gmem_adopt_opts *caller, struct gmem **out)
{
	bool two = vm->probe.mechanism == GMEM_TWO_BACKINGS;
	struct gmem_adopt_opts opts = {};
	struct gmem *gmem;
	int r = 0;

	*out = NULL;
	if (caller)
		r = take_struct(&opts, caller, sizeof(opts));
	if (!r && ((uintptr_t)opts.hva % vm->page_size || opts.shared_offset % vm->page_size ||
		   (opts.flags & ~GMEM_ASK_KERNEL)))
		r = -EINVAL;
	if (!r)
		r = new_memory(vm, size, opts.attributes, &gmem);
	if (r)
		return r;

	gmem->private_fd = private_fd;
	gmem->shared_fd = two ? shared_fd : private_fd;
	gmem->shared_offset = opts.shared_offset;
	gmem->hva = opts.hva;
	r = check_file(private_fd, 0, size);
	if (!r)
		r = two ? check_two_backings(gmem, shared_fd) : check_in_place(gmem, shared_fd);
	if (!r && opts.private_pages)
		take_told(&gmem->states, opts.private_pages);
	if (!r && (opts.flags & GMEM_ASK_KERNEL))
		r = take_kernels(gmem);
	if (r) {
		free_memory(gmem);
		return r;
	}

	*out = gmem;
	return 0;
}
