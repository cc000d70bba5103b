// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A vCPU's exit becomes a conversion, or is left to the caller. */
#include <errno.h>
#include <string.h>

#include "kvm_abi.h"
#include "unit_vm.h"

static void exits_become_conversions(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_MEMORY_FAULT };
	struct memory_fault_exit *fault = (void *)run.padding;

	(void)state;
	start(GMEM_IN_PLACE);
	*fault = (struct memory_fault_exit){
		.flags = KVM_MEMORY_EXIT_FLAG_PRIVATE, .gpa = FAKE_GPA + 0x123, .size = 8,
	};
	assert_int_equal(gmem_handle_exit(vm, &run, -EINTR, NULL, NULL), 1);
	/* No request, though the exit looks like one: the page is gone. */
	assert_int_equal(gmem_handle_exit(vm, &run, -EHWPOISON, NULL, NULL), 1);
	assert_false(kernel_private(FAKE_GPA));
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_true(kernel_private(FAKE_GPA));
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), -EALREADY);
	fault->flags = 0;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 0);
	assert_false(kernel_private(FAKE_GPA));
	fault->gpa = FAKE_GPA + ALL;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), -ENXIO);

	run = (struct kvm_run){ .exit_reason = KVM_EXIT_HYPERCALL };
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = FAKE_GPA + SLOT_SIZE;
	run.hypercall.args[1] = 3;
	run.hypercall.args[2] = 1 << 4;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 0);
	assert_int_equal(run.hypercall.ret, 0);
	assert_true(kernel_private(FAKE_GPA + SLOT_SIZE + 2 * PAGE));
	assert_false(kernel_private(FAKE_GPA + SLOT_SIZE + 3 * PAGE));
	run.hypercall.args[1] = 1ull << 60;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -EINVAL);
	assert_int_equal(run.hypercall.ret, EINVAL);
	/* Whatever the error, KVM accepts only two of them. */
	run.hypercall.args[0] = FAKE_GPA + ALL;
	run.hypercall.args[1] = 1;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -ENXIO);
	assert_int_equal(run.hypercall.ret, EINVAL);
	run.hypercall.args[0] = FAKE_GPA;
	fake_fail(CALL_CONVERT, 0, 1, EAGAIN);
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -EAGAIN);
	assert_int_equal(run.hypercall.ret, EAGAIN);
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE + 1;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 1);
	run.exit_reason = KVM_EXIT_HLT;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 1);
	expect_in_step();
	stop();
}

/* Also if there was nothing to convert, or the same struct was used before. */
static void failure_of_an_exit_says_where(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_MEMORY_FAULT };
	struct memory_fault_exit *fault = (void *)run.padding;
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	*fault = (struct memory_fault_exit){
		.flags = KVM_MEMORY_EXIT_FLAG_PRIVATE, .gpa = FAKE_GPA + ALL, .size = PAGE,
	};
	result.attempts = 7;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -ENXIO);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(result.where, FAKE_GPA + ALL);
	assert_int_equal(result.attempts, 0);

	assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE, NULL), 0);
	fault->flags = 0;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -EPERM);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(result.where, FAKE_GPA + ALL);

	fault->gpa = FAKE_GPA + PAGE;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -EALREADY);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(result.where, FAKE_GPA + PAGE);
	result.struct_size = 0;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -EINVAL);

	result = GMEM_INIT(struct gmem_result);
	run = (struct kvm_run){ .exit_reason = KVM_EXIT_HYPERCALL };
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = FAKE_GPA;
	run.hypercall.args[1] = UINT64_MAX / PAGE + 2;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, &result), -EINVAL);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(result.where, FAKE_GPA);
	expect_in_step();
	stop();
}

/* A VMM that passes no opts, on pKVM: the guest shares a page and takes it back. */
static void defaults_serve_a_protected_guest(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_MEMORY_FAULT };
	struct memory_fault_exit *fault = (void *)run.padding;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_create_opts create = GMEM_INIT(struct gmem_create_opts);
	struct fake_file *file;
	bool *refused;

	(void)state;
	fake.capability = 0;
	fake.knows_two_backings = false;
	fake.to_private = 6;
	assert_int_equal(gmem_vm_init(fake.vm_fd, NULL, &vm), 0);
	create.attributes = GMEM_PRIVATE;
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &create, &a), 0);
	assert_int_equal(gmem_bind(a, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	file = fake_file(gmem_private_fd(a));
	refused = &fake.refused[file - fake.files][2];
	*refused = true;
	*fault = (struct memory_fault_exit){ .gpa = FAKE_GPA + 2 * PAGE, .size = PAGE };
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -EPERM);
	assert_int_equal(result.step, GMEM_STEP_CONVERT);
	assert_int_equal(result.where, FAKE_GPA + 2 * PAGE);
	assert_true(file->is_private[2]);
	*refused = false;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_false(file->is_private[2]);
	assert_true(file->is_private[3]);
	fault->flags = KVM_MEMORY_EXIT_FLAG_PRIVATE;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_true(file->is_private[2]);
	/* Each is a single call, with an available policy. */
	assert_string_equal(fake.trace + strlen(fake.trace) - 2, "cc");
	gmem_destroy(a);
	gmem_vm_exit(vm);
}

const struct CMUnitTest exit_cases[] = {
	CASE(exits_become_conversions),
	CASE(failure_of_an_exit_says_where),
	CASE(defaults_serve_a_protected_guest),
	{},
};
