// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A VM that is just big enough to read and write pages as a guest; guest_*.c has its vCPU. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/kvm.h>

#include "guest.h"

static void create_vcpu(struct vm *vm)
{
	int size;

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		die("KVM_CREATE_VCPU");
	size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		die("mmap of the vCPU");
}

const char *vm_create(struct vm *vm, enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	static char reason[192];
	int r;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		die("cannot open /dev/kvm (is KVM there, and are you in the group 'kvm'?)");
	vm->code = NULL;
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, guest_arch.vm_type);
	if (vm->fd < 0 && errno == EINVAL) {
		close(vm->kvm);
		snprintf(reason, sizeof(reason), "this kernel has no VMs of type %s: they need %s",
			 guest_arch.vm_type_name, guest_arch.needs);
		return reason;
	}
	if (vm->fd < 0)
		die("KVM_CREATE_VM of type %s", guest_arch.vm_type_name);

	opts.vm_type = guest_arch.vm_type;
	opts.mechanism = mechanism;
	r = gmem_vm_init(vm->fd, &opts, &vm->gmem);
	if (r == -EOPNOTSUPP) {
		close(vm->fd);
		close(vm->kvm);
		if (mechanism == GMEM_MECHANISM_NONE)
			return "this kernel converts no memory; 'gmem probe' says what it does";
		snprintf(reason, sizeof(reason), "this kernel does not convert memory \"%s\"; "
			 "'gmem probe' says what it does", gmem_mechanism_name(mechanism));
		return reason;
	}
	if (r) {
		errno = -r;
		die("gmem_vm_init");
	}
	create_vcpu(vm);
	guest_start(vm);
	return NULL;
}

void vm_destroy(struct vm *vm)
{
	gmem_destroy(vm->code);
	gmem_vm_exit(vm->gmem);
	close(vm->vcpu);
	close(vm->fd);
	close(vm->kvm);
}

struct gmem *vm_memory(struct vm *vm, uint64_t size, uint64_t attributes, uint32_t slot,
		       uint64_t gpa, uint8_t **hva)
{
	struct gmem_create_opts opts = GMEM_INIT(struct gmem_create_opts);
	struct gmem *gmem;
	void *memory;
	int r;

	opts.attributes = attributes;
	r = gmem_create(vm->gmem, size, &opts, &gmem);
	if (!r)
		r = gmem_map(gmem, NULL, &memory);
	if (!r && gpa != GMEM_NO_GPA)
		r = gmem_bind(gmem, slot, gpa, 0, size, NULL);
	if (r) {
		errno = -r;
		die("a memory of %llu bytes", (unsigned long long)size);
	}
	if (hva)
		*hva = memory;

	return gmem;
}

int guest_read(struct vm *vm, unsigned int page)
{
	return guest_read_asking(vm, page, NULL);
}

int host_read(const void *page)
{
	const volatile uint8_t *bytes = page;
	size_t i;

	for (i = 1; i < PAGE; i++) {
		if (bytes[i] != bytes[0])
			return MIXED;
	}

	return bytes[0];
}

static sigjmp_buf on_sigbus;

static void handle_sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

int try_host_read(const void *page)
{
	struct sigaction old, new = { .sa_handler = handle_sigbus };
	volatile int seen = SIGBUS_READ;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(on_sigbus, 1))
		seen = host_read(page);
	sigaction(SIGBUS, &old, NULL);

	return seen;
}

int convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
	    enum gmem_policy policy, struct gmem_result *result)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.to_shared = policy;
	opts.to_private = policy;
	return gmem_convert(gmem, offset, size, attributes, &opts, result);
}

void pin_in_pipe(void *hva, int pipefd[2])
{
	struct iovec iov = { .iov_base = hva, .iov_len = PAGE };

	if (pipe(pipefd) || vmsplice(pipefd[1], &iov, 1, 0) != (ssize_t)PAGE)
		die("vmsplice");
}

void unpin_pipe(int pipefd[2])
{
	close(pipefd[0]);
	close(pipefd[1]);
}

const char *policy_list(uint32_t policies)
{
	static char names[32];
	int policy;

	names[0] = 0;
	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++) {
		if (!(policies & GMEM_POLICY_BIT(policy)))
			continue;
		if (names[0])
			strcat(names, ",");
		strcat(names, gmem_policy_name(policy));
	}

	return names[0] ? names : "-";
}
