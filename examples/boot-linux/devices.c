// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A console to print to, and a disk, on the virtio-mmio transport, version 2, with split rings.
 * Their buffers are the guest's memory itself: the disk is read into it and written from it
 * without a copy in between.  The guest's memory is only read through guest_memory(),
 * and each value only once, as the guest runs meanwhile.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vm.h"

/*
 * A guest whose memory is private must not hand out addresses of it.  ACCESS_PLATFORM makes Linux
 * use its DMA API, which copies to and from the pool that the guest has shared.
 * guest_memory() detects a driver that does not accept it.
 */
#define FEATURES	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM)
#define MAGIC		('v' | 'i' << 8 | 'r' << 16 | 't' << 24)
#define QUEUE_SIZE	64
#define SECTOR		512

/* The registers: those of virtio-mmio, and 64 bits of configuration. */
union registers {
	uint32_t word[VIRTIO_MMIO_CONFIG / 4 + 2];
	uint64_t wide[VIRTIO_MMIO_CONFIG / 8 + 1];
};

#define REG(registers, offset)		((registers)->word[(offset) / 4])
#define REG64(registers, offset)	((registers)->wide[(offset) / 8])

/* A device; only the last of its queues is served. */
struct virtio {
	unsigned int last_queue;
	/* Carry out a request; returns how many bytes were written to it. */
	uint32_t (*serve)(const struct iovec *iov, unsigned int nr);
	/* What the guest reads, and, of each queue, what it was when the queue became ready. */
	union registers registers, queues[2];
};

static uint64_t disk_sectors;
static int disk_fd;

static uint32_t serve_console(const struct iovec *iov, unsigned int nr)
{
	if (writev(STDOUT_FILENO, iov, nr) < 0)
		finish(DEVICE_FAILED, "printing for the guest: %s", strerror(errno));
	return 0;
}

/* Linux gives header and status a buffer each; other layouts are refused. */
static uint32_t serve_disk(const struct iovec *iov, unsigned int nr)
{
	uint64_t size = 0, done = -1;
	struct virtio_blk_outhdr header;
	unsigned int i;

	if (nr < 2 || iov[0].iov_len != sizeof(header) || iov[nr - 1].iov_len != 1)
		finish(DEVICE_FAILED, "the disk was given a malformed request");
	memcpy(&header, iov[0].iov_base, sizeof(header));
	for (i = 1; i < nr - 1; i++)
		size += iov[i].iov_len;

	/* A write must not make the file longer. */
	if (size % SECTOR || header.sector > disk_sectors ||
	    size / SECTOR > disk_sectors - header.sector)
		done = -1;
	else if (header.type == VIRTIO_BLK_T_IN)
		done = preadv(disk_fd, iov + 1, nr - 2, header.sector * SECTOR);
	else if (header.type == VIRTIO_BLK_T_OUT)
		done = pwritev(disk_fd, iov + 1, nr - 2, header.sector * SECTOR);
	*(uint8_t *)iov[nr - 1].iov_base = done == size ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
	return header.type == VIRTIO_BLK_T_IN ? size + 1 : 1;
}

/* Queue 0 of the console is for input, of which there is none. */
static struct virtio devices[] = {
	{ 1, serve_console, .registers = { { MAGIC, 2, VIRTIO_ID_CONSOLE } } },
	{ 0, serve_disk, .registers = { { MAGIC, 2, VIRTIO_ID_BLOCK } } },
};

void devices_add_disk(const char *path)
{
	vm.nr_devices++;
	/* A write that has been answered is on the disk, so the guest need not ask for a flush. */
	disk_fd = check(SYS(open(path, O_RDWR | O_DSYNC | O_CLOEXEC)), path);
	disk_sectors = lseek(disk_fd, 0, SEEK_END) / SECTOR;
	/* Without features, the capacity is the whole configuration. */
	REG64(&devices[1].registers, VIRTIO_MMIO_CONFIG) = disk_sectors;
}

static void set_interrupt(struct virtio *device, uint32_t interrupts)
{
	struct kvm_irq_level irq = {
		.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (32 + (device - devices)),
		.level = interrupts != 0,
	};

	REG(&device->registers, VIRTIO_MMIO_INTERRUPT_STATUS) = interrupts;
	IOCTL(vm.fd, KVM_IRQ_LINE, &irq);
}

/* The driver has zeroed the rings, so continue from the index that was used last. */
static void serve_queue(struct virtio *device, const union registers *queue)
{
	unsigned int size = REG(queue, VIRTIO_MMIO_QUEUE_NUM), nr;
	const volatile struct vring_desc *table =
		guest_memory(REG64(queue, VIRTIO_MMIO_QUEUE_DESC_LOW), size * sizeof(*table));
	const volatile struct vring_avail *avail =
		guest_memory(REG64(queue, VIRTIO_MMIO_QUEUE_AVAIL_LOW),
			     sizeof(*avail) + size * sizeof(avail->ring[0]));
	volatile struct vring_used *used =
		guest_memory(REG64(queue, VIRTIO_MMIO_QUEUE_USED_LOW),
			     sizeof(*used) + size * sizeof(used->ring[0]));
	struct iovec iov[QUEUE_SIZE];
	struct vring_desc desc;
	uint16_t next, head;

	for (next = used->idx; next != avail->idx; used->idx = ++next) {
		/* The guest wrote the entry before the index. */
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		head = avail->ring[next % size];
		desc = (struct vring_desc){ .flags = VRING_DESC_F_NEXT, .next = head };
		for (nr = 0; desc.flags & VRING_DESC_F_NEXT; nr++) {
			if (desc.next >= size || nr == size)
				finish(DEVICE_FAILED, "a device was given a malformed request");
			desc = table[desc.next];
			iov[nr] = (struct iovec){ guest_memory(desc.addr, desc.len), desc.len };
		}
		used->ring[next % size].id = head;
		used->ring[next % size].len = device->serve(iov, nr);
		/* It reads the index before the entry. */
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	set_interrupt(device, VIRTIO_MMIO_INT_VRING);
}

static void write_register(struct virtio *device, uint64_t offset, uint32_t value)
{
	union registers *now = &device->registers, *queue, none = { { 0 } };

	REG(now, offset) = value;
	queue = REG(now, VIRTIO_MMIO_QUEUE_SEL) <= device->last_queue ?
		&device->queues[REG(now, VIRTIO_MMIO_QUEUE_SEL)] : &none;

	if (offset == VIRTIO_MMIO_DEVICE_FEATURES_SEL) {
		REG(now, VIRTIO_MMIO_DEVICE_FEATURES) = value < 2 ? FEATURES >> 32 * value : 0;
	} else if (offset == VIRTIO_MMIO_QUEUE_SEL) {
		REG(now, VIRTIO_MMIO_QUEUE_NUM_MAX) = queue == &none ? 0 : QUEUE_SIZE;
		REG(now, VIRTIO_MMIO_QUEUE_READY) = REG(queue, VIRTIO_MMIO_QUEUE_READY);
	} else if (offset == VIRTIO_MMIO_QUEUE_READY) {
		*queue = *now;
		if (value && REG(now, VIRTIO_MMIO_QUEUE_NUM) - 1u >= QUEUE_SIZE)
			finish(DEVICE_FAILED, "a device was given a malformed queue");
	} else if (offset == VIRTIO_MMIO_QUEUE_NOTIFY && value == device->last_queue) {
		if (REG(&device->queues[value], VIRTIO_MMIO_QUEUE_READY))
			serve_queue(device, &device->queues[value]);
	} else if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		set_interrupt(device, REG(now, VIRTIO_MMIO_INTERRUPT_STATUS) & ~value);
	} else if (offset == VIRTIO_MMIO_STATUS && !value) {
		memset(device->queues, 0, sizeof(device->queues));
		set_interrupt(device, 0);
	}
}

/* Elsewhere zeros are read and writes are lost. */
void devices_mmio(struct kvm_run *run)
{
	uint64_t gpa = run->mmio.phys_addr, offset = gpa % VIRTIO_SIZE;
	uint64_t index = (gpa - VIRTIO_GPA) / VIRTIO_SIZE;
	bool is_register = index < vm.nr_devices && offset < sizeof(union registers) &&
			   offset % 4 == 0 && run->mmio.len == 4;

	if (is_register && run->mmio.is_write)
		write_register(&devices[index], offset, *(uint32_t *)run->mmio.data);
	else if (is_register)
		memcpy(run->mmio.data, &REG(&devices[index].registers, offset), 4);
	else if (!run->mmio.is_write)
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
	else if (gpa == UART_GPA)
		/*
		 * As much of a PL011 as earlycon needs: a status of zeros means that it is ready.
		 */
		serve_console(&(struct iovec){ run->mmio.data, 1 }, 1);
}
