// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What a kernel can do is found out by trying, and nothing is left over from the trial. */
#include <errno.h>

#include "kvm_abi.h"
#include "unit_vm.h"

static struct gmem_probe probe(void)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);
	unsigned int before = open_files();

	assert_int_equal(gmem_probe(fake.vm_fd, SW_PROTECTED_VM, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(open_files(), before);
	return p;
}

static void probe_climbs_down_the_ladder(void **state)
{
	struct gmem_probe p = probe();

	(void)state;
	assert_int_equal(p.mechanism, GMEM_IN_PLACE);
	assert_true(p.is_atomic);
	fake.knows_convert_of_vm = false;
	assert_false(probe().is_atomic);
	fake.knows_policies = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_IN_PLACE_PLAIN);
	assert_int_equal(p.to_shared, 7);
	assert_int_equal(p.to_private, 6);
	fake.knows_convert = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_TWO_BACKINGS);
	assert_int_equal(p.to_shared, 5);
	assert_int_equal(p.to_private, 4);
	fake.knows_two_backings = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
	assert_int_equal(p.attributes, 0);
	assert_int_equal(gmem_vm_init(fake.vm_fd, NULL, &vm), -EOPNOTSUPP);
	assert_null(vm);
}

/* pKVM: neither the old call nor zeros by a hole, whatever the numbers say. */
static void probe_of_a_protected_vm_finds_one_mechanism(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	fake.capability = 0;
	fake.to_private = 6;
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_IN_PLACE);
	assert_int_equal(p.mechanisms, 1u << GMEM_IN_PLACE);
	assert_int_equal(p.to_shared, 7);
	assert_int_equal(p.to_private, 6);
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_IN_PLACE_PLAIN, &p), -EOPNOTSUPP);
	/* The default type of the same machine, whose files have no private pages. */
	fake.to_shared = fake.to_private = 0;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
	fake.knows_convert = fake.knows_policies = false;
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
}

static void probe_finds_each_policy_in_each_direction(void **state)
{
	struct gmem_probe p;
	uint32_t bits;

	(void)state;
	/* Without a way back there is nothing to find out, so one policy stays. */
	for (bits = 1; bits < 8; bits++) {
		fake.to_shared = bits;
		fake.to_private = 8 - bits;
		p = probe();
		assert_int_equal(p.mechanism, GMEM_IN_PLACE);
		assert_int_equal(p.to_shared, bits);
		assert_int_equal(p.to_private, 8 - bits);
	}
}

static void capability_that_lies_is_not_believed(void **state)
{
	(void)state;
	fake.knows_convert = fake.knows_policies = fake.knows_two_backings = false;
	assert_int_equal(probe().mechanism, GMEM_MECHANISM_NONE);
	fake.knows_two_backings = true;
	fake.capability = 0;
	assert_int_equal(probe().mechanism, GMEM_MECHANISM_NONE);
}

static void probe_without_a_descriptor_says_so(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	fake_fail(CALL_CREATE, 0, 100, EMFILE);
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -EMFILE);
	p.struct_size = 0;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -EINVAL);
}

/* An error that is not an answer about a policy: at each call of the trial. */
static void probe_that_cannot_tell_says_so(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);
	unsigned int calls, at, before = open_files();
	int plain;

	(void)state;
	for (plain = 0; plain < 2; plain++) {
		fake.knows_policies = !plain;
		calls = fake.calls[CALL_CONVERT];
		p = probe();
		assert_int_equal(p.mechanism, plain ? GMEM_IN_PLACE_PLAIN : GMEM_IN_PLACE);
		calls = fake.calls[CALL_CONVERT] - calls;
		assert_true(calls > 2);
		for (at = 0; at < calls; at++) {
			fake.nr_answers = 0;
			fake_fail(CALL_CONVERT, at, 1, ENOMEM);
			assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -ENOMEM);
		}
		assert_int_equal(open_files(), before);
	}
}

static void unknown_mechanism_is_refused(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_IN_PLACE + 1, &p), -EINVAL);
	/* On some machines, such a large shift does nothing. */
	assert_int_equal(gmem_probe(fake.vm_fd, 0, 32 + GMEM_TWO_BACKINGS, &p), -EINVAL);
}

const struct CMUnitTest probe_cases[] = {
	CASE(probe_climbs_down_the_ladder),
	CASE(probe_of_a_protected_vm_finds_one_mechanism),
	CASE(probe_finds_each_policy_in_each_direction),
	CASE(capability_that_lies_is_not_believed),
	CASE(probe_without_a_descriptor_says_so),
	CASE(probe_that_cannot_tell_says_so),
	CASE(unknown_mechanism_is_refused),
	{},
};
