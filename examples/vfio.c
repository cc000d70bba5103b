// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A real device that a guest with private memory drives: the IOMMU maps what the
 * guest shares, as long as it is shared, and stops the device everywhere else.
 *
 *	vfio [iommufd|type1] [BDF]	QEMU's edu device, bound to vfio-pci
 *
 * The guest shares two pages and makes the device copy one to the other, takes the
 * second back, and tries again.  Exit status 4: there is no such device, or no VFIO.
 */
#include <gmem.h>

#include "edu.h"
#include "vm.h"

#define PAGES	16ul

/* The guest rings twice: after the device has copied, and after it could not. */
static int run(struct vm *vm, struct gmem_vm *memories, const char *hva)
{
	int rang = 0, right = 1, error, r;
	char c;

	for (;;) {
		error = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : 0;
		r = error == -EINTR ? 0 :
		    gmem_handle_exit(memories, vm->run, error, NULL, NULL);
		if (!r)
			continue;
		check(r < 0 ? r : error, "KVM_RUN");
		if (!vm_rang(vm))
			break;

		if (!rang++) {
			printf("pages 1 and 2 are shared: the device has copied '%.3s'\n",
			       hva + 2 * PAGE);
			right &= !memcmp(hva + 2 * PAGE, "DMA", 3);
		} else {
			c = *((char *)vm->run + vm->run->io.data_offset);
			printf("page 2 is private: the guest wrote 's', the device tried, the guest reads '%c'\n",
			       c);
			right &= c == 's';
		}
	}

	return right && rang == 2 && vm_halted(vm);
}

int main(int argc, char **argv)
{
	struct gmem_iommu_opts iommu_opts = GMEM_INIT(struct gmem_iommu_opts);
	struct gmem_create_opts create = GMEM_INIT(struct gmem_create_opts);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct kvm_userspace_memory_region region = {
		.slot = 2, .guest_phys_addr = DEVICE_GPA, .memory_size = PAGE,
	};
	const char *use = argc > 1 ? argv[1] : "";
	struct gmem_iommu *iommu;
	struct gmem_vm *memories;
	void *hva, *registers;
	int device, right;
	struct gmem *ram;
	struct vm vm;
	char bdf[256];

	if (argc > 2)
		snprintf(bdf, sizeof(bdf), "%s", argv[2]);
	else if (edu_find(bdf, sizeof(bdf))) {
		printf("no edu device, or no VFIO\n");
		return 4;
	}
	check(edu_give_to_vfio(bdf), "vfio-pci");
	device = strcmp(use, "type1") ? edu_open_iommufd(bdf, &iommu_opts) : -ENODEV;
	if (device < 0 && strcmp(use, "iommufd"))
		device = edu_open_type1(bdf, &iommu_opts);
	check(device < 0 ? device : 0, bdf);
	printf("%s through %s\n", bdf, iommu_opts.ioas_id ? "iommufd" : "VFIO type1");

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	create.attributes = GMEM_PRIVATE;
	check(gmem_create(memories, PAGES * PAGE, &create, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &hva), "gmem_map");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");

	/* The guest's own path to the device: a slot of the VMM's that cannot be converted. */
	check(edu_map_registers(device, &registers), "its registers");
	region.userspace_addr = (uintptr_t)registers;
	check(sys(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region)), "memslot of the device");
	check(gmem_exclude(memories, DEVICE_GPA, PAGE, NULL), "gmem_exclude");

	/* And the device's path to the guest: what is shared, now and later. */
	check(gmem_add_iommu(memories, &iommu_opts, &iommu), "gmem_add_iommu");

	vm_start(&vm, memories, GUEST_HAS_A_DEVICE);
	right = run(&vm, memories, hva);

	check(gmem_remove_iommu(iommu), "gmem_remove_iommu");
	gmem_destroy(ram);
	gmem_destroy(vm.code);
	gmem_vm_exit(memories);
	return right ? 0 : 1;
}
