// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A VM as the library knows it: set up and forgotten. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "kvm_abi.h"

/*
 * A kernel without policies keeps contents, or does what its VM type does.  A kernel
 * with policies that is used like one without is asked to do the same.
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

/*
 * A protected guest of arm64 shares a page with what it has written there, and takes it
 * back with what the host has written.  All others expect to lose it.
 */
static void find_defaults(struct gmem_vm *vm, unsigned long vm_type)
{
	bool keep = vm->probe.mechanism == GMEM_IN_PLACE && is_arm_protected(vm_type, &vm->probe);

	vm->default_policy[false] = keep ? GMEM_PRESERVE : GMEM_ZERO;
	vm->default_policy[true] = keep ? GMEM_PRESERVE : GMEM_NONE;
}

API int gmem_vm_init(int vm_fd, const struct gmem_vm_opts *caller, struct gmem_vm **out)
{
	struct gmem_vm_opts opts = {};
	pthread_condattr_t monotonic;
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
	/* Cannot fail with a clock that exists. */
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);

	r = gmem_probe(vm_fd, opts.vm_type, opts.mechanism, &vm->probe);
	if (!r && vm->probe.mechanism == GMEM_MECHANISM_NONE)
		r = -EOPNOTSUPP;
	if (!r && vm->probe.mechanism == GMEM_IN_PLACE_PLAIN)
		r = find_plain_policies(vm, opts.vm_type);
	if (r) {
		gmem_vm_exit(vm);
		return r;
	}
	find_defaults(vm, opts.vm_type);

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
	while (vm->nr_bindings)
		free(vm->bindings[--vm->nr_bindings]);
	free(vm->bindings);
	free(vm);
}

API const struct gmem_probe *gmem_vm_probe(const struct gmem_vm *vm)
{
	return &vm->probe;
}
