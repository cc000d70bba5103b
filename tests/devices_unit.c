// SPDX-License-Identifier: GPL-2.0
/*
 * The devices of boot-linux, which read rings that a guest writes as it likes: no request
 * reaches beyond the guest's shared memory, the device's own data or the end of the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

/* What only arm64's headers have. */
#ifndef KVM_ARM_IRQ_TYPE_SHIFT
#define KVM_ARM_IRQ_TYPE_SHIFT	24
#define KVM_ARM_IRQ_TYPE_SPI	1
#endif

#include "../examples/boot-linux/devices.c"

#define RAM_SIZE	0x4000
#define DISK_SECTORS	8
#define NR_RANDOM	20000

/* Where the rings and buffers of this guest are. */
#define DESC		(RAM_GPA + 0x000)
#define AVAIL		(RAM_GPA + 0x400)
#define USED		(RAM_GPA + 0x800)
#define HEADER		(RAM_GPA + 0x1000)
#define DATA		(RAM_GPA + 0x1400)
#define STATUS		(RAM_GPA + 0x3ff0)

struct vm vm = { .nr_devices = 1, .fd = -1 };
static jmp_buf finished;

void finish(enum status status, const char *format, ...)
{
	(void)format;
	longjmp(finished, status + 1);
}

int check(int r, const char *what)
{
	(void)what;
	/* There is no VM to interrupt. */
	return r;
}

void *guest_memory(uint64_t gpa, uint64_t size)
{
	uint64_t offset = gpa - RAM_GPA;

	if (offset > RAM_SIZE || size > RAM_SIZE - offset)
		finish(DEVICE_FAILED, "not shared");
	return vm.ram + offset;
}

static int create(void **state)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	char path[32];

	(void)state;
	assert_return_code(fd, errno);
	assert_return_code(ftruncate(fd, DISK_SECTORS * SECTOR), errno);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	devices_add_disk(path);
	close(fd);
	/* Exactly as large as it is said to be, for ASan. */
	vm.ram = calloc(1, RAM_SIZE);
	assert_non_null(vm.ram);
	return 0;
}

static int destroy(void **state)
{
	(void)state;
	free(vm.ram);
	close(disk_fd);
	return 0;
}

static void write_disk_register(uint64_t offset, uint32_t value)
{
	struct kvm_run *run = calloc(1, sizeof(*run));

	run->mmio.phys_addr = VIRTIO_GPA + VIRTIO_SIZE + offset;
	run->mmio.len = 4;
	run->mmio.is_write = 1;
	memcpy(run->mmio.data, &value, sizeof(value));
	if (!setjmp(finished))
		devices_mmio(run);
	free(run);
}

static void start_queue(void)
{
	static const struct { uint64_t offset; uint32_t value; } writes[] = {
		{ VIRTIO_MMIO_STATUS, 0 }, { VIRTIO_MMIO_QUEUE_SEL, 0 },
		{ VIRTIO_MMIO_QUEUE_NUM, 16 }, { VIRTIO_MMIO_QUEUE_DESC_LOW, DESC },
		{ VIRTIO_MMIO_QUEUE_DESC_HIGH, 0 }, { VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL },
		{ VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0 }, { VIRTIO_MMIO_QUEUE_USED_LOW, USED },
		{ VIRTIO_MMIO_QUEUE_USED_HIGH, 0 }, { VIRTIO_MMIO_QUEUE_READY, 1 },
	};
	size_t i;

	memset(vm.ram, 0, RAM_SIZE);
	for (i = 0; i < sizeof(writes) / sizeof(*writes); i++)
		write_disk_register(writes[i].offset, writes[i].value);
}

/* One request; returns its status. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t size)
{
	const struct vring_desc descs[] = {
		{ HEADER, sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT, 1 },
		{ DATA, size, VRING_DESC_F_NEXT, 2 },
		{ STATUS, 1, 0, 0 },
	};
	const struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct vring_avail *avail = guest_memory(AVAIL, sizeof(*avail));
	uint8_t *status = guest_memory(STATUS, 1);

	start_queue();
	memcpy(guest_memory(DESC, sizeof(descs)), descs, sizeof(descs));
	memcpy(guest_memory(HEADER, sizeof(header)), &header, sizeof(header));
	memset(guest_memory(DATA, size), 'd', size);
	*status = 0xff;
	avail->idx = 1;
	write_disk_register(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	return *status;
}

static off_t disk_size(void)
{
	struct stat st;

	assert_return_code(fstat(disk_fd, &st), errno);
	return st.st_size;
}

static void disk_keeps_its_size(void **state)
{
	uint64_t sector;
	uint32_t size;

	(void)state;
	for (sector = 0; sector <= DISK_SECTORS + 1; sector++) {
		for (size = 0; size <= (DISK_SECTORS + 1) * SECTOR; size += SECTOR / 4) {
			bool fits = size % SECTOR == 0 && sector + size / SECTOR <= DISK_SECTORS;

			assert_int_equal(request(VIRTIO_BLK_T_OUT, sector, size),
					 fits ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
			assert_int_equal(disk_size(), DISK_SECTORS * SECTOR);
			assert_int_equal(request(VIRTIO_BLK_T_IN, sector, size),
					 fits ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		}
	}
	assert_int_equal(request(VIRTIO_BLK_T_OUT, UINT64_MAX, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, UINT64_MAX / SECTOR, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_size(), DISK_SECTORS * SECTOR);
}

/* Rings, registers and requests with a few bytes changed at random, for ASan and UBSan. */
static void nonsense_is_survived(void **state)
{
	struct vring_avail *avail = guest_memory(AVAIL, sizeof(*avail));
	struct vring_used *used = guest_memory(USED, sizeof(*used));
	unsigned int i, j;
	uint32_t value;

	(void)state;
	srandom(15);
	for (i = 0; i < NR_RANDOM; i++) {
		request(random() % 2, random() % DISK_SECTORS, SECTOR * (random() % 4));
		for (j = random() % 8; j > 0; j--)
			((uint8_t *)vm.ram)[random() % 2 ? random() % 64 : random() % RAM_SIZE] =
				random() % 2 ? random() : random() % 20;
		for (j = random() % 4; j > 0; j--) {
			value = random() % 2 ? random() : random() % 3;
			write_disk_register(random() % 0x110 & ~3, value);
		}
		/* Few, as each may be written to the disk. */
		avail->idx = used->idx + random() % 4;
		write_disk_register(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		assert_int_equal(disk_size(), DISK_SECTORS * SECTOR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disk_keeps_its_size),
		cmocka_unit_test(nonsense_is_survived),
	};

	return cmocka_run_group_tests(tests, create, destroy);
}
