// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The files of a memory: created, mapped, returned and closed.  Where the memory is bound is
 * not known here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "kvm_abi.h"

static int create_files(struct gmem *gmem, bool is_private)
{
	uint64_t flags = 0;
	int fd;

	if (gmem->vm->probe.mechanism != GMEM_TWO_BACKINGS)
		flags = GUEST_MEMFD_FLAG_MMAP | (is_private ? 0 : GUEST_MEMFD_FLAG_INIT_SHARED);

	fd = create_guest_memfd(gmem->vm->fd, gmem->size, flags);
	if (fd < 0)
		return fd;
	gmem->private_fd = fd;

	if (gmem->vm->probe.mechanism != GMEM_TWO_BACKINGS) {
		gmem->shared_fd = fd;
		return 0;
	}

	fd = memfd_create("gmem-shared", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	gmem->shared_fd = fd;

	return ftruncate(fd, gmem->size) ? -errno : 0;
}

int new_memory(struct gmem_vm *vm, uint64_t size, uint64_t attributes, struct gmem **out)
{
	struct gmem *gmem;
	int r;

	/* The largest file there is. */
	if (!size || size % vm->page_size || size > INT64_MAX ||
	    (attributes != GMEM_SHARED && attributes != GMEM_PRIVATE))
		return -EINVAL;

	gmem = calloc(1, sizeof(*gmem));
	if (!gmem)
		return -ENOMEM;
	gmem->vm = vm;
	gmem->size = size;
	gmem->private_fd = -1;
	gmem->shared_fd = -1;
	r = states_init(&gmem->states, size / vm->page_size, vm->page_size,
			attributes == GMEM_PRIVATE);
	if (r) {
		free_memory(gmem);
		return r;
	}

	*out = gmem;
	return 0;
}

void free_memory(struct gmem *gmem)
{
	if (gmem->owns_mapping)
		munmap(gmem->hva, gmem->size);
	if (gmem->owns_files && gmem->private_fd >= 0)
		close(gmem->private_fd);
	if (gmem->owns_files && gmem->shared_fd >= 0 && gmem->shared_fd != gmem->private_fd)
		close(gmem->shared_fd);
	states_exit(&gmem->states);
	free(gmem);
}

int discard(const struct gmem *gmem, bool shared_half, uint64_t offset, uint64_t size)
{
	if (!shared_half)
		return punch_hole(gmem->private_fd, offset, size);
	if (gmem->shared_fd >= 0)
		return punch_hole(gmem->shared_fd, gmem->shared_offset + offset, size);

	return discard_mapping((char *)gmem->hva + offset, size);
}

int clear(const struct gmem *gmem, bool shared_half, uint64_t offset, uint64_t size)
{
	int r = discard(gmem, shared_half, offset, size);

	/* Locked memory, of which there is no file, stays. */
	if (r == -EINVAL && shared_half && gmem->shared_fd < 0) {
		memset((char *)gmem->hva + offset, 0, size);
		r = 0;
	}

	return r;
}

API int gmem_create(struct gmem_vm *vm, uint64_t size, const struct gmem_create_opts *caller,
		    struct gmem **out)
{
	struct gmem_create_opts opts = {};
	struct gmem *gmem;
	int r = 0;

	*out = NULL;
	if (caller)
		r = take_struct(&opts, caller, sizeof(opts));
	if (!r)
		r = new_memory(vm, size, opts.attributes, &gmem);
	if (r)
		return r;

	gmem->owns_files = true;
	r = create_files(gmem, opts.attributes == GMEM_PRIVATE);
	if (r) {
		free_memory(gmem);
		return r;
	}

	*out = gmem;
	return 0;
}

API uint64_t gmem_size(const struct gmem *gmem)
{
	return gmem->size;
}

API int gmem_shared_fd(const struct gmem *gmem)
{
	return gmem->shared_fd;
}

API int gmem_private_fd(const struct gmem *gmem)
{
	return gmem->private_fd;
}

API int gmem_map(struct gmem *gmem, const struct gmem_map_opts *caller, void **hva)
{
	struct gmem_map_opts opts = {};
	void *memory;
	int r = 0;

	if (caller)
		r = take_struct(&opts, caller, sizeof(opts));
	if (!r && (opts.mmap_flags & (MAP_TYPE | MAP_ANONYMOUS)))
		r = -EINVAL;
	if (r)
		return r;

	pthread_mutex_lock(&gmem->vm->lock);
	if (!gmem->hva) {
		/* The range is address space, not memory: nothing to reserve. */
		memory = mmap(opts.address, gmem->size, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_NORESERVE | opts.mmap_flags, gmem->shared_fd,
			      gmem->shared_offset);
		if (memory == MAP_FAILED) {
			r = -errno;
		} else {
			gmem->hva = memory;
			gmem->owns_mapping = true;
		}
	}
	*hva = gmem->hva;
	pthread_mutex_unlock(&gmem->vm->lock);

	return r;
}
