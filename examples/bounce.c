// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A bounce buffer under PRESERVE: the host writes a request, hands the page to the
 * guest, which works on it where nobody sees it, and takes it back with the answer.
 * No byte is copied and no page is exchanged.
 */
#include <gmem.h>

#include "vm.h"

#define SW_PROTECTED_VM	1

static const uint8_t guest[] = {
	0xbe, 0, 0,	/*	mov si, 0 */
	0x8a, 0x04,	/* next: mov al, [si] */
	0x84, 0xc0,	/*	test al, al */
	0x74, 0x07,	/*	jz done */
	0x24, 0xdf,	/*	and al, ~0x20		to upper case */
	0x88, 0x04,	/*	mov [si], al */
	0x46,		/*	inc si */
	0xeb, 0xf3,	/*	jmp next */
	0xf4,		/* done: hlt */
};

int main(void)
{
	struct gmem_convert_opts keep = GMEM_CONVERT_OPTS;
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_vm *memories;
	const struct gmem_probe *probe;
	struct gmem *buffer;
	struct vm vm;
	void *hva;
	int r;

	vm_start(&vm, SW_PROTECTED_VM, guest, sizeof(guest));
	opts.vm_type = SW_PROTECTED_VM;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");

	probe = gmem_vm_probe(memories);
	if (!(probe->to_shared & probe->to_private & GMEM_POLICY_BIT(GMEM_PRESERVE))) {
		printf("%s keeps no contents here; copy instead\n",
		       gmem_mechanism_name(probe->mechanism));
		return 4;
	}
	keep.to_shared = GMEM_PRESERVE;
	keep.to_private = GMEM_PRESERVE;

	check(gmem_create(memories, PAGE, NULL, &buffer), "gmem_create");
	check(gmem_map(buffer, &hva), "gmem_map");
	check(gmem_bind(buffer, 1, DATA_GPA, 0, PAGE), "gmem_bind");

	strcpy(hva, "request");
	printf("host writes:  %s\n", (char *)hva);
	check(gmem_convert(buffer, 0, PAGE, GMEM_PRIVATE, &keep, NULL), "to private");
	check(sys(ioctl(vm.vcpu, KVM_RUN, 0)), "KVM_RUN");
	check(gmem_convert(buffer, 0, PAGE, GMEM_SHARED, &keep, NULL), "to shared");
	printf("host reads:   %s\n", (char *)hva);

	r = strcmp(hva, "REQUEST");
	gmem_destroy(buffer);
	gmem_vm_exit(memories);
	return r ? 1 : 0;
}
