// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion of guest_memfd memory, through KVM_SET_MEMORY_ATTRIBUTES2 on the
 * file: which files support it, what can be used next to it, and vCPUs that fault
 * continuously.  Contents, ranges, mappings, errors and the ioctl on the VM have tests of
 * their own.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"

GMEM_FIXTURE(convert, GMEM_PAGES)

/* Discovery */

TEST_F(convert, capabilities_say_what_works)
{
	struct kvm_vm *vm = vm_create_barebones();

	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_ATTRIBUTES2), PRIVATE);
	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY),
		       POLICIES);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES2), PRIVATE);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY) & POLICIES,
		       POLICIES);

	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES2), 0);
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY), 0);
	kvm_vm_free(vm);
}

TEST_F(convert, other_files_have_no_such_ioctl)
{
	struct kvm_vm *vm = vm_create_barebones();
	int fd;

	fd = vm_create_guest_memfd(self->g.vm, PAGE_SIZE, 0);
	TEST_ASSERT_EQ(__gmem_convert(fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL), -ENOTTY);
	close(fd);

	fd = vm_create_guest_memfd(vm, PAGE_SIZE, GMEM_IN_PLACE);
	TEST_ASSERT_EQ(__gmem_convert(fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL), -ENOTTY);
	close(fd);
	kvm_vm_free(vm);

	/* What nobody can map is private from the start, and cannot be made shared. */
	TEST_ASSERT(__vm_create_guest_memfd(self->g.vm, PAGE_SIZE,
					    GUEST_MEMFD_FLAG_INIT_SHARED) == -1 && errno == EINVAL,
		    "INIT_SHARED without MMAP should fail with EINVAL");
}

TEST_F(convert, other_ioctls_are_enotty)
{
	char buf[256] = {};

	TEST_ASSERT_EQ(ioctl(self->g.fd, KVM_SET_MEMORY_ATTRIBUTES, buf), -1);
	TEST_ASSERT_EQ(errno, ENOTTY);
	TEST_ASSERT_EQ(ioctl(self->g.fd, KVM_CREATE_VCPU, 0), -1);
	TEST_ASSERT_EQ(errno, ENOTTY);
}

TEST_F(convert, file_is_private_without_init_shared)
{
	struct gmem_vm p;

	gmem_vm_create(&p, GMEM_PAGES, GUEST_MEMFD_FLAG_MMAP);
	expect_state(&p, 0, GMEM_PAGES, PRIVATE);
	gmem_convert(&p, 0, GMEM_PAGES, SHARED, ZERO);
	expect_state(&p, 0, GMEM_PAGES, SHARED);
	gmem_vm_destroy(&p);
}

/* Two layouts on one kernel */

TEST_F(convert, two_backings_and_the_old_ioctl_live_beside)
{
	const u64 old_gpa = GMEM_GPA + GMEM_PAGES * PAGE_SIZE;
	struct gmem_vm *g = &self->g;
	struct kvm_memory_attributes attr = {
		.address = GMEM_GPA + 4 * PAGE_SIZE,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
	};
	u8 *hva;

	ONLY_IF(HAS_TWO_BACKINGS);
	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, old_gpa,
				    GMEM_SLOT + 1, 4, KVM_MEM_GUEST_MEMFD);
	virt_map(g->vm, old_gpa, old_gpa, 4);
	hva = addr_gpa2hva(g->vm, old_gpa);

	/* In place the file decides, even if a range only partly overlaps it. */
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1 && errno == EINVAL,
		    "The old ioctl should fail with EINVAL in place");
	attr.address = old_gpa - PAGE_SIZE;
	attr.size = 2 * PAGE_SIZE;
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1 && errno == EINVAL,
		    "The old ioctl should fail with EINVAL across the border");
	expect_state(g, 0, GMEM_PAGES, SHARED);

	/* The guest's page GMEM_PAGES is page 0 of the old slot. */
	memset(hva, 's', PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 's');
	vm_mem_set_private(g->vm, old_gpa, 4 * PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 0);
	guest_write(g, GMEM_PAGES, 'p');
	TEST_ASSERT_EQ(hva[0], 's');

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, GMEM_PAGES - 1, 'q');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, GMEM_PAGES - 1), 'q');
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 'p');
	vm_mem_set_shared(g->vm, old_gpa, 4 * PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 's');
}

TEST_F(convert, closing_the_file_leaves_the_vm_alive)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, 1, 'a');
	kvm_munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	close(g->fd);

	TEST_ASSERT_EQ(__vcpu_run(g->vcpu), -1);
	TEST_ASSERT_EQ(errno, LOST_PAGE_ERRNO);
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);

	/* The teardown needs something to close. */
	g->fd = vm_create_guest_memfd(g->vm, GMEM_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(GMEM_PAGES * PAGE_SIZE, PROT_READ, MAP_SHARED, g->fd);
}

TEST_F(convert, pre_faulted_pages_convert)
{
	struct kvm_pre_fault_memory range = { .gpa = GMEM_GPA, .size = GMEM_PAGES * PAGE_SIZE };
	struct gmem_vm *g = &self->g;

	ONLY_IF(HAS_PRE_FAULT);
	gmem_convert(g, 0, GMEM_PAGES / 2, PRIVATE, NONE);
	TEST_ASSERT_EQ(__vcpu_ioctl(g->vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
	TEST_ASSERT_EQ(range.size, 0);
	TEST_ASSERT_EQ(guest_read(g, 0), expected(NONE, 0));
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES - 1), 0);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 1), expected(NONE, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 1), expected(NONE, 0));
}

/*
 * mincore() briefly takes a reference to each page that it looks at, mapped or not.  Many
 * concurrent callers must neither make a conversion fail nor delay it: it may find such a
 * reference on every page, and must not start over each time.
 */
#define LOOKERS		4
#define LOOKED_AT	2048

static bool looked_enough;

static void *look_into_the_page_cache(void *data)
{
	struct gmem_vm *g = data;
	unsigned char resident[LOOKED_AT];

	while (!READ_ONCE(looked_enough))
		TEST_ASSERT(!mincore(g->mem, LOOKED_AT * PAGE_SIZE, resident),
			    "mincore() failed");

	return NULL;
}

TEST_F(convert, looking_into_the_page_cache_holds_nothing)
{
	pthread_t threads[LOOKERS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_create(&g, LOOKED_AT, GMEM_IN_PLACE);
	memset(g.mem, 'a', LOOKED_AT * PAGE_SIZE);
	for (i = 0; i < LOOKERS; i++)
		kvm_pthread_create(&threads[i], NULL, look_into_the_page_cache, &g);
	for (i = 0; i < 50; i++) {
		show_progress("rounds", i, 50);
		gmem_convert(&g, 0, LOOKED_AT, PRIVATE, PRESERVE);
		gmem_convert(&g, 0, LOOKED_AT, SHARED, PRESERVE);
	}
	WRITE_ONCE(looked_enough, true);
	for (i = 0; i < LOOKERS; i++)
		kvm_pthread_join(threads[i], NULL);
	TEST_ASSERT_EQ(host_read(&g, LOOKED_AT - 1), 'a');
	gmem_vm_destroy(&g);
}

/*
 * A vCPU and a host thread fault on the range in a loop while it is converted back and
 * forth.  No conversion fails, as nobody holds a page.  While the epoch is odd, the range
 * is private and was zeroed on the way: neither side may see the letter that the host wrote
 * before.
 *
 * In every tenth round the range stays private until the guest has looked at all of it: a
 * blocked vCPU makes no progress, which shows here.
 */
#define STALE		'h'
#define FAULT_ROUNDS	500
#define WATCHED_ROUND	10

static u64 epoch;
static u64 nr_looks;
static bool stop;

static void guest_watch(void)
{
	while (!READ_ONCE(stop)) {
		u64 before = READ_ONCE(epoch), i;

		for (i = 0; i < GMEM_PAGES; i++) {
			u8 byte = READ_ONCE(*(u8 *)(GMEM_GPA + i * PAGE_SIZE));

			if (before == READ_ONCE(epoch))
				__GUEST_ASSERT(before % 2 ? !byte : !byte || byte == STALE,
					       "page %lu reads %#x in epoch %lu", i, byte, before);
			else
				break;
		}
		if (i == GMEM_PAGES)
			WRITE_ONCE(nr_looks, nr_looks + 1);
	}
	GUEST_DONE();
}

static void *run_vcpu(void *__vcpu)
{
	struct kvm_vcpu *vcpu = __vcpu;
	struct ucall uc;

	/* A fault that raced with a conversion is reported; the guest continues. */
	while (_vcpu_run(vcpu))
		TEST_ASSERT(errno == EFAULT &&
			    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "KVM_RUN failed with errno %d", errno);

	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);

	return NULL;
}

static void *fault_from_the_host(void *__g)
{
	struct gmem_vm *g = __g;
	u64 i;

	while (!READ_ONCE(stop)) {
		for (i = 0; i < GMEM_PAGES; i++)
			/* Fault as an access would, without the SIGBUS. */
			(void)madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_POPULATE_READ);
	}

	return NULL;
}

TEST_F(convert, faulting_vcpus_neither_block_nor_see_stale_bytes)
{
	struct gmem_vm *g = &self->g;
	pthread_t vcpu_thread, host_thread;
	u64 *guest_epoch, *guest_looks, i, looks, round, where;
	bool *guest_stop;
	int r;

	ONLY_IF(!GUEST_DECIDES);
	vcpu_arch_set_entry_point(g->vcpu, guest_watch);
	guest_epoch = addr_gva2hva(g->vm, (u64)&epoch);
	guest_looks = addr_gva2hva(g->vm, (u64)&nr_looks);
	guest_stop = addr_gva2hva(g->vm, (u64)&stop);

	kvm_pthread_create(&vcpu_thread, NULL, run_vcpu, g->vcpu);
	kvm_pthread_create(&host_thread, NULL, fault_from_the_host, g);

	for (round = 0; round < FAULT_ROUNDS; round++) {
		show_progress("rounds", round, FAULT_ROUNDS);
		for (i = 0; i < GMEM_PAGES; i++)
			host_write(g, i, STALE);

		r = __gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE,
				   &where);
		TEST_ASSERT(!r, "Round %lu: to private failed: %s at %#lx", round,
			    strerror(-r), where);
		WRITE_ONCE(*guest_epoch, 2 * round + 1);
		/* One look may have started before. */
		looks = READ_ONCE(*guest_looks);
		while (round % WATCHED_ROUND == 0 && READ_ONCE(*guest_looks) < looks + 2)
			usleep(100);
		WRITE_ONCE(*guest_epoch, 2 * round + 2);

		r = __gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, SHARED,
				   round % 2 ? ZERO : PRESERVE, &where);
		TEST_ASSERT(!r, "Round %lu: to shared failed: %s at %#lx", round,
			    strerror(-r), where);
		for (i = 0; i < GMEM_PAGES; i++)
			TEST_ASSERT_EQ(host_read(g, i), 0);
	}

	WRITE_ONCE(*guest_stop, true);
	WRITE_ONCE(stop, true);
	kvm_pthread_join(vcpu_thread, NULL);
	kvm_pthread_join(host_thread, NULL);
}

TEST_HARNESS_MAIN
