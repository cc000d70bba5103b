// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem probe: what this kernel offers, by type of VM.  A number that the kernel
 * returns for a capability may mean something else there, so every answer in
 * the table is what a scratch file did.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gmem.h"

#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif

static const char *const type_names[] = {
	"default", "sw-protected", "sev", "sev-es", "snp", "tdx",
};

#define NR_TYPES (sizeof(type_names) / sizeof(type_names[0]))

/* Which policies a one-page file of the VM takes, in one direction. */
static void policies(int fd, bool to_private, char *names, size_t size)
{
	uint64_t policy;
	int r;

	names[0] = 0;
	for (policy = 0; policy <= KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE; policy++) {
		/* From the other state, so that there is something to convert. */
		convert(fd, 0, PAGE, !to_private,
			KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE, NULL);
		r = convert(fd, 0, PAGE, to_private, policy, NULL);
		if (r)
			continue;
		if (names[0])
			strncat(names, ",", size - strlen(names) - 1);
		strncat(names, policy_name(policy), size - strlen(names) - 1);
	}
	if (!names[0])
		strncat(names, "-", size - 1);
}

static void probe_type(int kvm, unsigned long type, bool *found)
{
	char to_shared[64] = "-", to_private[64] = "-";
	const char *mechanism = "none", *attributes = "-";
	struct vm vm = { .kvm = kvm };
	int fd, r;

	vm.fd = ioctl(kvm, KVM_CREATE_VM, type);
	if (vm.fd < 0) {
		printf("%-14s cannot be created: %s\n", type_names[type], strerror(errno));
		return;
	}

	if (vm_capability(vm.fd, KVM_CAP_MEMORY_ATTRIBUTES) & KVM_MEMORY_ATTRIBUTE_PRIVATE) {
		mechanism = "two backings";
		attributes = "private";
	}

	fd = vm_guest_memfd(&vm, PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	if (fd >= 0) {
		r = convert(fd, 0, PAGE, true,
			    KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE, NULL);
		if (!r) {
			*found = true;
			mechanism = "in place";
			policies(fd, false, to_shared, sizeof(to_shared));
			policies(fd, true, to_private, sizeof(to_private));
		} else if (r != -ENOTTY) {
			/* Something answers that knows no policies. */
			mechanism = convert(fd, 0, PAGE, true, 0, NULL) ?
				    mechanism : "in place, no policies";
		}
		close(fd);
	}

	printf("%-14s %-22s %-11s %-20s %s\n", type_names[type], mechanism,
	       attributes, to_shared, to_private);
	close(vm.fd);
}

int cmd_probe(int argc, char **argv)
{
	bool found = false;
	unsigned long type;
	int kvm, types;

	(void)argc;
	(void)argv;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("cannot open /dev/kvm (is KVM there, and are you in the group 'kvm'?)");

	printf("%-14s %-22s %-11s %-20s %s\n", "VM TYPE", "MECHANISM", "ATTRIBUTES",
	       "POLICIES TO SHARED", "POLICIES TO PRIVATE");
	types = vm_capability(kvm, KVM_CAP_VM_TYPES) | 1;
	for (type = 0; type < NR_TYPES; type++) {
		if (types & (1 << type))
			probe_type(kvm, type, &found);
	}
	close(kvm);

	if (!found)
		printf("\nNo VM type here converts memory in place.\n");

	return found ? EXIT_OK : EXIT_UNSUPPORTED;
}
