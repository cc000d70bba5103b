// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Which system calls the library makes. */
#include <sys/syscall.h>

#include "../holders.h"
#include "../system_calls.h"
#include "answers.h"

static enum gmem_mechanism mechanism_of_calls;

static void runs(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int i, ends[2];

	make_vm(mechanism_of_calls, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	hva[PAGE] = 'h';
	hold_in_pipe(hva + PAGE, ends);
	opts.timeout_ms = 100;

	begin_calls();
	gmem_convert(ram, 0, 2 * PAGE, GMEM_PRIVATE, &opts, NULL);
	for (i = 0; i < 4; i++) {
		gmem_convert_gpa(memories, DATA_GPA + 2 * PAGE, 4 * PAGE,
				 i % 2 ? GMEM_SHARED : GMEM_PRIVATE, NULL, NULL);
		gmem_lookup(ram, 0, &range);
	}
	gmem_verify(ram, NULL);
	gmem_rebuild(ram);
	end_calls();
}

static void makes(void)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_adopt_opts adopt = GMEM_INIT(struct gmem_adopt_opts);
	bool in_place = mechanism_of_calls == GMEM_IN_PLACE;
	struct kvm_create_guest_memfd create = {
		.size = PAGES * PAGE, .flags = in_place ? GUEST_MEMFD_FLAG_MMAP : 0,
	};
	int fd, shared = memfd_create("shared", MFD_CLOEXEC);
	struct gmem *adopted;
	void *mem;

	vm_create(&vm, VM_TYPE);
	fd = ioctl(vm.fd, KVM_CREATE_GUEST_MEMFD, &create);
	check(sys(fd), "KVM_CREATE_GUEST_MEMFD");
	check(sys(ftruncate(shared, PAGES * PAGE)), "ftruncate");
	opts.vm_type = VM_TYPE;
	opts.mechanism = mechanism_of_calls;

	begin_calls();
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	check(gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	check(gmem_adopt(memories, PAGES * PAGE, fd, in_place ? -1 : shared, &adopt, &adopted),
	      "gmem_adopt");
	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	gmem_destroy(adopted);
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	end_calls();
}

/* As libgmem(7) lists them. */
static const struct system_call running[] = {
	{ SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES },
	{ SYS_ioctl, KVM_GET_MEMORY_ATTRIBUTES2 }, { SYS_fallocate, 0 }, { SYS_madvise, 0 },
	{ SYS_futex, 0 }, { SYS_clock_gettime, 0 }, {},
};

static const struct system_call making[] = {
	{ SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES },
	{ SYS_ioctl, KVM_GET_MEMORY_ATTRIBUTES2 }, { SYS_ioctl, KVM_CREATE_GUEST_MEMFD },
	{ SYS_ioctl, KVM_SET_USER_MEMORY_REGION2 }, { SYS_ioctl, KVM_CHECK_EXTENSION },
	{ SYS_ioctl, KVM_GET_API_VERSION }, { SYS_fallocate, 0 }, { SYS_madvise, 0 },
	{ SYS_futex, 0 }, { SYS_clock_gettime, 0 }, { SYS_mmap, 0 }, { SYS_munmap, 0 },
	{ SYS_close, 0 }, { SYS_fcntl, 0 }, { SYS_fstat, 0 }, { SYS_newfstatat, 0 },
	{ SYS_memfd_create, 0 }, { SYS_ftruncate, 0 }, { SYS_brk, 0 }, {},
};

void seccomp(void)
{
	mechanism_of_calls = GMEM_IN_PLACE;
	result(only_calls(runs, running), "seccomp.in_place.conversions_need_what_is_listed");
	result(only_calls(makes, making), "seccomp.in_place.making_needs_what_is_listed");
	mechanism_of_calls = GMEM_TWO_BACKINGS;
	result(only_calls(runs, running), "seccomp.two_backings.conversions_need_what_is_listed");
	result(only_calls(makes, making), "seccomp.two_backings.making_needs_what_is_listed");
}
