// SPDX-License-Identifier: GPL-2.0
/*
 * The guest of the tests on arm64, a protected VM, and its part in a conversion: it shares
 * pages that become shared, and takes back pages that become private.
 *
 * Memslot 0 is anonymous memory, which becomes the guest's page by page, so the host writes
 * to it only before the first run.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem_util.h"

/* The most pages that anything maps in the guest. */
#define GUEST_PAGES	2048

/* What EL2 knows about a page of the guest, counted from GMEM_GPA. */
enum page_owner {
	/* The guest has not touched it. */
	HOSTS,
	GUESTS,
	/* The guest's, which shares it, whether the host has claimed it or not. */
	GUESTS_AND_SHARED,
	/* It was the guest's, until the file lost it. */
	LOST,
};

struct gmem_guest {
	u64 stack[MAX_GUEST_VCPUS];
	u8 owner[GUEST_PAGES];
};

/* Programs: each serves one request each time it is run. */

void guest_answer(u64 value)
{
	WRITE_ONCE(*ucall_exit_mmio_addr, value);
}

static void guest_reader(u64 page)
{
	for (;;)
		guest_answer(page_byte((u8 *)(GMEM_GPA + page * PAGE_SIZE)));
}

static void guest_writer(u64 page, u64 byte)
{
	u8 *hva = (u8 *)(GMEM_GPA + page * PAGE_SIZE);

	for (;;) {
		memset(hva, byte, PAGE_SIZE);
		guest_answer(page_byte(hva));
	}
}

static void guest_toucher(u64 page)
{
	for (;; page++)
		guest_answer(READ_ONCE(*(u8 *)(GMEM_GPA + page * PAGE_SIZE)));
}

long guest_hypercall(u32 function, u64 page)
{
	struct arm_smccc_res res;

	smccc_hvc(function, GMEM_GPA + page * PAGE_SIZE, 0, 0, 0, 0, 0, 0, &res);

	return res.a0;
}

static void guest_caller(u64 function, u64 page)
{
	for (;;)
		guest_answer(guest_hypercall(function, page));
}

/* The VM */

static void require_protected_vms(void)
{
	int kvm = open_kvm_dev_path_or_exit(), vm;

	vm = ioctl(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_PROTECTED | KVM_VM_TYPE_ARM_IPA_SIZE(40));
	close(kvm);
	__TEST_REQUIRE(vm >= 0, "no protected VMs on this host");
	__TEST_REQUIRE(getpagesize() == PAGE_SIZE, "the host's page size is not %llu bytes",
		       PAGE_SIZE);
	close(vm);
}

void guest_create(struct gmem_vm *g, int nr_vcpus, struct kvm_vcpu *vcpus[])
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_VM_TYPE_ARM_PROTECTED,
	};
	struct userspace_mem_region *slot0;
	int i;

	TEST_ASSERT(nr_vcpus <= MAX_GUEST_VCPUS, "%d vCPUs are too many", nr_vcpus);
	require_protected_vms();
	test_disable_default_vgic();
	g->vm = __vm_create_with_vcpus(shape, nr_vcpus, 0, guest_reader, vcpus);
	g->guest = calloc(1, sizeof(*g->guest));
	TEST_ASSERT(g->guest, "Out of memory");
	for (i = 0; i < nr_vcpus; i++)
		g->guest->stack[i] = vcpu_get_reg(vcpus[i], ARM64_CORE_REG(sp_el1));

	/*
	 * Copying it for a child, or into a core, is a host access, which would destroy the
	 * page.
	 */
	slot0 = memslot2region(g->vm, 0);
	TEST_ASSERT(!madvise(slot0->mmap_start, slot0->mmap_size, MADV_DONTFORK) &&
		    !madvise(slot0->mmap_start, slot0->mmap_size, MADV_DONTDUMP),
		    "madvise() of slot 0 failed");
}

void guest_destroy(struct gmem_vm *g)
{
	kvm_vm_free(g->vm);
	free(g->guest);
}

/* Requests */

void guest_start(struct gmem_vm *g, struct kvm_vcpu *vcpu, void *program, u64 a, u64 b, u64 c)
{
	vcpu_set_reg(vcpu, ARM64_CORE_REG(sp_el1), g->guest->stack[vcpu->id]);
	vcpu_arch_set_entry_point(vcpu, program);
	vcpu_args_set(vcpu, 3, a, b, c);
}

void guest_start_hypercall(struct gmem_vm *g, u32 function, u64 page)
{
	guest_start(g, g->vcpu, guest_caller, function, page, 0);
}

enum guest_exit guest_run(struct kvm_vcpu *vcpu, u64 *value)
{
	struct kvm_run *run = vcpu->run;
	int r;

	/* Not _vcpu_run(), which mistakes an answer for the address of a ucall. */
	do
		r = __vcpu_run(vcpu) ? -errno : 0;
	while (r == -EINTR);

	if (!r && run->exit_reason == KVM_EXIT_MMIO &&
	    run->mmio.phys_addr == vcpu->vm->ucall_mmio_addr) {
		memcpy(value, run->mmio.data, sizeof(*value));
		/*
		 * Otherwise the next program would start by completing this store and
		 * advancing PC.
		 */
		vcpu_run_complete_io(vcpu);
		return GUEST_ANSWERS;
	}

	TEST_ASSERT((r == -EFAULT || r == -EHWPOISON) && run->exit_reason == KVM_EXIT_MEMORY_FAULT,
		    "KVM_RUN: %s, exit reason %u, PC %#lx", strerror(-r), run->exit_reason,
		    vcpu_get_reg(vcpu, ARM64_CORE_REG(regs.pc)));
	*value = run->memory_fault.gpa;
	if (r == -EHWPOISON)
		return GUEST_MISSES_PAGE;

	return run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_PRIVATE ? GUEST_WANTS_PRIVATE :
									GUEST_WANTS_SHARED;
}

static void convert_page(struct gmem_vm *g, u64 page, u64 attributes)
{
	int r = __gmem_convert(g->vm->fd, GMEM_GPA + page * PAGE_SIZE, PAGE_SIZE, attributes,
			       PRESERVE, NULL);

	TEST_ASSERT(!r, "Page %lu to %s on behalf of the guest: %s", page,
		    attributes & PRIVATE ? "private" : "shared", strerror(-r));
}

/* For a page that the guest has had, its hypercalls can fail for only one reason. */
static bool guest_calls(struct gmem_vm *g, u32 function, u64 page, enum guest_exit expected)
{
	u64 value;
	enum guest_exit exit;

	guest_start_hypercall(g, function, page);
	exit = guest_run(g->vcpu, &value);
	if (exit == GUEST_ANSWERS && (long)value == SMCCC_RET_INVALID_PARAMETER) {
		g->guest->owner[page] = LOST;
		return false;
	}
	TEST_ASSERT_EQ(exit, expected);
	TEST_ASSERT_EQ(value, exit == GUEST_ANSWERS ? SMCCC_RET_SUCCESS :
						      GMEM_GPA + page * PAGE_SIZE);

	return true;
}

/*
 * The guest takes what it touches for its own, so it gets a shared page as a private one,
 * and then shares it.
 */
static u64 serve(struct gmem_vm *g, u64 page)
{
	bool was_shared = false;
	u64 value, answer;

	TEST_ASSERT(page < GUEST_PAGES, "Page %lu is not mapped in the guest", page);
	switch (guest_run(g->vcpu, &value)) {
	case GUEST_ANSWERS:
		break;
	case GUEST_WANTS_PRIVATE:
		TEST_ASSERT_EQ(value, GMEM_GPA + page * PAGE_SIZE);
		convert_page(g, page, PRIVATE);
		was_shared = true;
		TEST_ASSERT_EQ(guest_run(g->vcpu, &value), GUEST_ANSWERS);
		break;
	default:
		TEST_FAIL("The guest cannot have page %lu: KVM_RUN failed at %#lx", page, value);
	}
	if (g->guest->owner[page] == HOSTS)
		g->guest->owner[page] = GUESTS;

	if (was_shared) {
		TEST_ASSERT(guest_calls(g, MEM_SHARE, page, GUEST_WANTS_SHARED),
			    "Page %lu is lost", page);
		convert_page(g, page, SHARED);
		TEST_ASSERT_EQ(guest_run(g->vcpu, &answer), GUEST_ANSWERS);
		TEST_ASSERT_EQ(answer, SMCCC_RET_SUCCESS);
		g->guest->owner[page] = GUESTS_AND_SHARED;
	}

	return value;
}

void guest_start_read(struct gmem_vm *g, u64 page)
{
	guest_start(g, g->vcpu, guest_reader, page, 0, 0);
	/* It is about to be the guest's, and sharing a page that is not yet does no harm. */
	if (g->guest->owner[page] == HOSTS)
		g->guest->owner[page] = GUESTS;
}

int guest_read(struct gmem_vm *g, u64 page)
{
	guest_start(g, g->vcpu, guest_reader, page, 0, 0);

	return serve(g, page);
}

void guest_write(struct gmem_vm *g, u64 page, u8 byte)
{
	guest_start(g, g->vcpu, guest_writer, page, byte, 0);
	TEST_ASSERT_EQ(serve(g, page), byte);
}

/* Private, as only then is it merely a first touch. */
void guest_start_touching(struct gmem_vm *g, u64 page, u64 nr)
{
	gmem_convert(g, page, nr, PRIVATE, PRESERVE);
	guest_start(g, g->vcpu, guest_toucher, page, 0, 0);
}

void guest_touch_next(struct gmem_vm *g)
{
	u64 value;

	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), GUEST_ANSWERS);
}

/* Have the guest call @function for each of its pages that is @from. */
static void guest_calls_for(struct gmem_vm *g, u64 page, u64 nr, enum page_owner from,
			    u32 function, enum guest_exit exit, enum page_owner to)
{
	u64 i;

	/* A file that no guest uses. */
	if (!g->guest)
		return;

	for (i = page; i < page + nr && i < GUEST_PAGES; i++) {
		if (g->guest->owner[i] == from && guest_calls(g, function, i, exit))
			g->guest->owner[i] = to;
	}
}

/* EL2 knows from now on, and the hypercall is abandoned. */
void guest_agrees(struct gmem_vm *g, u64 page, u64 nr)
{
	guest_calls_for(g, page, nr, GUESTS, MEM_SHARE, GUEST_WANTS_SHARED, GUESTS_AND_SHARED);
}

void guest_takes_back(struct gmem_vm *g, u64 page, u64 nr)
{
	guest_calls_for(g, page, nr, GUESTS_AND_SHARED, MEM_UNSHARE, GUEST_ANSWERS, GUESTS);
}
