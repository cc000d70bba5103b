// SPDX-License-Identifier: GPL-2.0
/*
 * The guest of the tests on x86: it finds its request in memory that the host has written.
 */
#include "gmem_util.h"

enum guest_op {
	GUEST_READ,
	GUEST_WRITE,
};

static struct {
	u64 op;
	u64 page;
	u64 byte;
} request;

/* Serves one request each time it is run. */
static void guest_server(void)
{
	for (;;) {
		u8 *page = (u8 *)(GMEM_GPA + READ_ONCE(request.page) * PAGE_SIZE);

		if (READ_ONCE(request.op) == GUEST_WRITE)
			memset(page, READ_ONCE(request.byte), PAGE_SIZE);

		GUEST_SYNC(page_byte(page));
	}
}

void guest_create(struct gmem_vm *g, int nr_vcpus, struct kvm_vcpu *vcpus[])
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_SW_PROTECTED_VM,
	};

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM));
	g->vm = __vm_create_with_vcpus(shape, nr_vcpus, 0, guest_server, vcpus);
}

void guest_destroy(struct gmem_vm *g)
{
	kvm_vm_free(g->vm);
}

static void send_request(struct gmem_vm *g, enum guest_op op, u64 page, u8 byte)
{
	request.op = op;
	request.page = page;
	request.byte = byte;
	sync_global_to_guest(g->vm, request);
}

static int run_request(struct gmem_vm *g, enum guest_op op, u64 page, u8 byte)
{
	struct ucall uc;

	send_request(g, op, page, byte);
	vcpu_run(g->vcpu);
	TEST_ASSERT_EQ(get_ucall(g->vcpu, &uc), UCALL_SYNC);

	return uc.args[1];
}

void guest_start_read(struct gmem_vm *g, u64 page)
{
	send_request(g, GUEST_READ, page, 0);
}

int guest_read(struct gmem_vm *g, u64 page)
{
	return run_request(g, GUEST_READ, page, 0);
}

void guest_write(struct gmem_vm *g, u64 page, u8 byte)
{
	TEST_ASSERT_EQ(run_request(g, GUEST_WRITE, page, byte), byte);
}

static void guest_toucher(u64 page)
{
	for (;; page++) {
		READ_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE));
		GUEST_SYNC(page);
	}
}

void guest_start_touching(struct gmem_vm *g, u64 page, u64 nr)
{
	vcpu_arch_set_entry_point(g->vcpu, guest_toucher);
	vcpu_args_set(g->vcpu, 1, page);
}

void guest_touch_next(struct gmem_vm *g)
{
	struct ucall uc;

	vcpu_run(g->vcpu);
	TEST_ASSERT_EQ(get_ucall(g->vcpu, &uc), UCALL_SYNC);
}

/* This guest is not asked. */
void guest_agrees(struct gmem_vm *g, u64 page, u64 nr)
{
}

void guest_takes_back(struct gmem_vm *g, u64 page, u64 nr)
{
}
