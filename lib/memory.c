// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* VMs and memories: made, mapped, asked and destroyed. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "kvm_abi.h"

/*
 * A kernel without policies keeps contents, or does what its VM type does.  One that has
 * them and is used like one without is asked for the same.
 */
static int find_plain_policies(struct gmem_vm *vm, unsigned long vm_type)
{
	struct gmem_probe best = GMEM_INIT(struct gmem_probe);
	int r = gmem_probe(vm->fd, vm_type, GMEM_MECHANISM_NONE, &best);

	if (r || best.mechanism != GMEM_IN_PLACE)
		return r;

	vm->plain_policy[false] = best.to_shared & GMEM_POLICY_BIT(GMEM_PRESERVE) ?
				  GMEM_PRESERVE : GMEM_NONE;
	vm->plain_policy[true] = best.to_private & GMEM_POLICY_BIT(GMEM_PRESERVE) ?
				 GMEM_PRESERVE : GMEM_NONE;
	return 0;
}

API int gmem_vm_init(int vm_fd, const struct gmem_vm_opts *caller, struct gmem_vm **out)
{
	struct gmem_vm_opts opts = {};
	struct gmem_vm *vm;
	int r;

	*out = NULL;
	if (caller) {
		r = take_struct(&opts, caller, sizeof(opts));
		if (r)
			return r;
	}

	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->fd = vm_fd;
	vm->page_size = sysconf(_SC_PAGESIZE);
	vm->probe = GMEM_INIT(struct gmem_probe);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);

	r = gmem_probe(vm_fd, opts.vm_type, opts.mechanism, &vm->probe);
	if (!r && vm->probe.mechanism == GMEM_MECHANISM_NONE)
		r = -EOPNOTSUPP;
	if (!r && vm->probe.mechanism == GMEM_IN_PLACE_PLAIN)
		r = find_plain_policies(vm, opts.vm_type);
	if (r) {
		gmem_vm_exit(vm);
		return r;
	}

	*out = vm;
	return 0;
}

API void gmem_vm_exit(struct gmem_vm *vm)
{
	if (!vm)
		return;

	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm->listeners);
	free(vm->bindings);
	free(vm);
}

API const struct gmem_probe *gmem_vm_probe(const struct gmem_vm *vm)
{
	return &vm->probe;
}

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
		gmem_destroy(gmem);
		return r;
	}

	*out = gmem;
	return 0;
}

API void gmem_destroy(struct gmem *gmem)
{
	if (!gmem)
		return;

	/*
	 * Under a slot that stays the next mapping would become the guest's memory, so the
	 * addresses stay taken.  If that fails the memory does, too.
	 */
	if (unbind_all(gmem))
		(void)mmap(gmem->hva, gmem->size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	else if (gmem->hva)
		munmap(gmem->hva, gmem->size);
	if (gmem->private_fd >= 0)
		close(gmem->private_fd);
	if (gmem->shared_fd >= 0 && gmem->shared_fd != gmem->private_fd)
		close(gmem->shared_fd);
	states_exit(&gmem->states);
	free(gmem);
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
