// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What a VM can do.  The numbers of the capabilities mean something else on some
 * kernels, so the behaviour of a one-page file decides; a capability can only say
 * "no".
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"
#include "kvm_abi.h"

#define NR_POLICIES	3

/* 1 if the page takes the policy, 0 if the kernel refuses it, -errno if this is unknown. */
static int try(int fd, size_t page_size, bool to_private, uint64_t policy)
{
	uint64_t where;
	int r = set_attributes_in_place(fd, 0, page_size, to_private, policy, &where);

	return !r ? 1 : r == -EINVAL || r == -EOPNOTSUPP ? 0 : r;
}

/* Bring the page to a state, in whatever way works; returns what try() does. */
static int bring(int fd, size_t page_size, bool to_private)
{
	int policy, r = 0;

	for (policy = NR_POLICIES - 1; !r && policy >= 0; policy--)
		r = try(fd, page_size, to_private, policy);

	return r;
}

/* The policies that the page takes; it starts in the other state, so that it has to change. */
static int try_policies(int fd, size_t page_size, bool to_private, uint32_t *policies)
{
	int policy, r;

	for (policy = 0; policy < NR_POLICIES; policy++) {
		r = bring(fd, page_size, !to_private);
		if (r > 0)
			r = try(fd, page_size, to_private, policy);
		if (r < 0)
			return r;
		if (r)
			*policies |= GMEM_POLICY_BIT(policy);
	}

	return 0;
}

/* -errno if this is unknown. */
static int probe_in_place(int vm_fd, size_t page_size, struct gmem_probe *probe)
{
	int fd = create_guest_memfd(vm_fd, page_size,
				    GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	bool has_policies;
	uint64_t where;
	int r;

	if (fd == -ENOTTY || fd == -EINVAL || fd == -EOPNOTSUPP)
		return 0;
	if (fd < 0)
		return fd;

	/* A kernel without policies accepts no flags; a kernel with policies knows NONE. */
	r = set_attributes_in_place(fd, 0, page_size, true, GMEM_NONE, &where);
	has_policies = !r || r == -EOPNOTSUPP;
	if (!has_policies && r != -EINVAL) {
		if (r == -ENOTTY)
			r = 0;
		goto out_close;
	}

	r = bring(fd, page_size, true);
	if (r > 0)
		r = bring(fd, page_size, false);
	if (r <= 0)
		goto out_close;

	probe->mechanisms |= 1u << GMEM_IN_PLACE_PLAIN;
	r = 0;
	if (has_policies) {
		probe->mechanisms |= 1u << GMEM_IN_PLACE;
		r = try_policies(fd, page_size, false, &probe->to_shared);
		if (!r)
			r = try_policies(fd, page_size, true, &probe->to_private);
	}

out_close:
	close(fd);
	return r;
}

static int probe_two_backings(int vm_fd, size_t page_size, struct gmem_probe *probe)
{
	int fd;

	if (ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES) < 0)
		return -errno;
	if (!(ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES) &
	      KVM_MEMORY_ATTRIBUTE_PRIVATE))
		return 0;

	fd = create_guest_memfd(vm_fd, page_size, 0);
	if (fd == -ENOTTY || fd == -EINVAL || fd == -EOPNOTSUPP)
		return 0;
	if (fd < 0)
		return fd;
	close(fd);

	/* A kernel that knows the call refuses a range without a size; nothing changes. */
	if (set_attributes_of_vm(vm_fd, 0, 0, false) == -EINVAL)
		probe->mechanisms |= 1u << GMEM_TWO_BACKINGS;

	return 0;
}

/*
 * A VMM of arm64 may not have said so.  No other type offers PRESERVE in both directions without
 * ZERO to private: the one for tests offers both, and memory that is encrypted cannot be kept.
 */
bool is_arm_protected(unsigned long vm_type, const struct gmem_probe *probe)
{
	uint32_t both = probe->to_shared & probe->to_private;

	return vm_type & KVM_VM_TYPE_ARM_PROTECTED ||
	       ((both & GMEM_POLICY_BIT(GMEM_PRESERVE)) &&
		!(probe->to_private & GMEM_POLICY_BIT(GMEM_ZERO)));
}

API int gmem_probe(int vm_fd, unsigned long vm_type, enum gmem_mechanism use,
		   struct gmem_probe *out)
{
	struct gmem_probe probe = {};
	size_t page_size = sysconf(_SC_PAGESIZE);
	uint64_t where;
	int r = check_struct(out);

	if (r)
		return r;
	if ((unsigned int)use > GMEM_IN_PLACE)
		return -EINVAL;
	/* /dev/kvm answers the same questions, but is not a VM. */
	if (ioctl(vm_fd, KVM_GET_API_VERSION, 0) >= 0)
		return -ENOTTY;

	r = probe_two_backings(vm_fd, page_size, &probe);
	if (!r)
		r = probe_in_place(vm_fd, page_size, &probe);
	if (r)
		return r;
	/* The library zeros by punching a hole, and pKVM never gives another page for it. */
	if (is_arm_protected(vm_type, &probe))
		probe.mechanisms &= ~(1u << GMEM_IN_PLACE_PLAIN);

	probe.mechanism = use;
	if (use == GMEM_MECHANISM_NONE && probe.mechanisms)
		probe.mechanism = 31 - __builtin_clz(probe.mechanisms);
	if (use != GMEM_MECHANISM_NONE && !(probe.mechanisms & (1u << use)))
		return -EOPNOTSUPP;

	switch (probe.mechanism) {
	case GMEM_IN_PLACE:
		/* Only a kernel with policies knows this call. */
		probe.is_atomic = set_attributes_in_place(vm_fd, 0, 0, false, 0, &where) == -EINVAL;
		break;
	case GMEM_IN_PLACE_PLAIN:
		/*
		 * What it does to contents depends on the VM type and cannot be asked.
		 * The library can only add zeros for the host.
		 */
		probe.to_shared = GMEM_POLICY_BIT(GMEM_ZERO) | GMEM_POLICY_BIT(GMEM_NONE);
		probe.to_private = GMEM_POLICY_BIT(GMEM_NONE);
		if (vm_type == KVM_X86_SW_PROTECTED_VM) {
			probe.to_shared |= GMEM_POLICY_BIT(GMEM_PRESERVE);
			probe.to_private |= GMEM_POLICY_BIT(GMEM_PRESERVE);
		}
		break;
	case GMEM_TWO_BACKINGS:
		probe.to_shared = GMEM_POLICY_BIT(GMEM_ZERO) | GMEM_POLICY_BIT(GMEM_NONE);
		probe.to_private = GMEM_POLICY_BIT(GMEM_NONE);
		probe.is_atomic = true;
		break;
	default:
		break;
	}
	if (probe.mechanism != GMEM_MECHANISM_NONE)
		probe.attributes = GMEM_PRIVATE;

	give_struct(out, &probe, sizeof(probe));
	return 0;
}
