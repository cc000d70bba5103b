// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What a vCPU's exit asks for. */
#include <errno.h>

#include "internal.h"
#include "kvm_abi.h"

/*
 * Either the page has another state than the access needs, or the access came in the
 * middle of a conversion, or its memory could not be had.  Only the first can be dealt
 * with here.
 */
static int memory_fault(struct gmem_vm *vm, const struct kvm_run *run,
			const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	const struct memory_fault_exit *fault = (const void *)run->padding;
	uint64_t mask = vm->page_size - 1;
	uint64_t start = fault->gpa & ~mask, end = (fault->gpa + fault->size + mask) & ~mask;
	bool to_private = fault->flags & KVM_MEMORY_EXIT_FLAG_PRIVATE;
	struct gmem_result failure = { .step = GMEM_STEP_CHECK, .where = start };
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int r = result ? check_struct(result) : 0;
	uint64_t at;

	if (r)
		return r;
	for (at = start; at < end; at += range.size) {
		r = gmem_lookup_gpa(vm, at, &range);
		if (r) {
			failure.where = at;
			break;
		}
		if ((range.attributes == GMEM_PRIVATE) != to_private)
			return gmem_convert_gpa(vm, start, end - start,
						to_private ? GMEM_PRIVATE : GMEM_SHARED, opts,
						result);
	}

	if (result)
		give_struct(result, &failure, sizeof(failure));
	return r ? r : -EALREADY;
}

static int map_gpa_range(struct gmem_vm *vm, struct kvm_run *run,
			 const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	uint64_t gpa = run->hypercall.args[0], nr_pages = run->hypercall.args[1], size;
	bool to_private = run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED;
	/* Guests count in pages of 4 KiB, whatever the page size of the host. */
	const uint64_t page_size = 4096;
	int r;

	/* What is too large for a size is refused like no size. */
	size = nr_pages > UINT64_MAX / page_size ? 0 : nr_pages * page_size;
	r = gmem_convert_gpa(vm, gpa, size, to_private ? GMEM_PRIVATE : GMEM_SHARED, opts, result);
	/* The only results that KVM passes on; with another one the next KVM_RUN fails. */
	if (!r)
		run->hypercall.ret = 0;
	else if (r == -EAGAIN || r == -ETIMEDOUT || r == -ECANCELED)
		run->hypercall.ret = EAGAIN;
	else
		run->hypercall.ret = EINVAL;
	return r;
}

API int gmem_handle_exit(struct gmem_vm *vm, struct kvm_run *run, int run_error,
			 const struct gmem_convert_opts *opts, struct gmem_result *result)
{
	/* With any other error the exit reason is stale; a memory error is left to the caller. */
	if (run_error && run_error != -EFAULT)
		return 1;

	if (run->exit_reason == KVM_EXIT_MEMORY_FAULT)
		return memory_fault(vm, run, opts, result);
	if (!run_error && run->exit_reason == KVM_EXIT_HYPERCALL &&
	    run->hypercall.nr == KVM_HC_MAP_GPA_RANGE)
		return map_gpa_range(vm, run, opts, result);

	return 1;
}
