// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The files of a memory: made, mapped, asked and closed.  Where the guest has it is not known
 * here.
 */
#include <errno.h>
#include <stdlib.h>
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

void free_memory(struct gmem *gmem)
{
	if (gmem->hva)
		munmap(gmem->hva, gmem->size);
	if (gmem->private_fd >= 0)
		close(gmem->private_fd);
	if (gmem->shared_fd >= 0 && gmem->shared_fd != gmem->private_fd)
		close(gmem->shared_fd);
	states_exit(&gmem->states);
	free(gmem);
}

API int gmem_create(struct gmem_vm *vm, uint64_t size, const struct gmem_create_opts *caller,
		    struct gmem **out)
{
	struct gmem_create_opts opts = {};
	struct gmem *gmem;
	bool is_private;
	int r;

	*out = NULL;
	if (caller) {
		r = take_struct(&opts, caller, sizeof(opts));
		if (r)
			return r;
	}
	/* The largest file there is. */
	if (!size || size % vm->page_size || size > INT64_MAX ||
	    (opts.attributes != GMEM_SHARED && opts.attributes != GMEM_PRIVATE))
		return -EINVAL;

	gmem = calloc(1, sizeof(*gmem));
	if (!gmem)
		return -ENOMEM;
	gmem->vm = vm;
	gmem->size = size;
	gmem->private_fd = -1;
	gmem->shared_fd = -1;
	is_private = opts.attributes == GMEM_PRIVATE;

	r = states_init(&gmem->states, size / vm->page_size, vm->page_size, is_private);
	if (!r)
		r = create_files(gmem, is_private);
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

API int gmem_map(struct gmem *gmem, void **hva)
{
	void *memory;
	int r = 0;

	pthread_mutex_lock(&gmem->vm->lock);
	if (!gmem->hva) {
		/* The range is address space, not memory: nothing to reserve. */
		memory = mmap(NULL, gmem->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			      gmem->shared_fd, 0);
		if (memory == MAP_FAILED)
			r = -errno;
		else
			gmem->hva = memory;
	}
	*hva = gmem->hva;
	pthread_mutex_unlock(&gmem->vm->lock);

	return r;
}
