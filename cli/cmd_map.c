// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem map: the states of a memory as a picture, one cell for so many pages.  A VMM
 * writes "START END private|shared" for each range that gmem_lookup() gives, in bytes;
 * END is the first byte behind it.
 */
#include <errno.h>
#include <getopt.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

#define DEMO_PAGES	(64 * 64)
#define CELL_PIXELS	12u
/* So that a picture has 38 million pixels at most. */
#define MAX_COLUMNS	512

/* What the pages of a cell are. */
enum cell { NOTHING, SHARED, PRIVATE, BOTH };

static const struct look {
	const char *name;
	char letter;
	const char *ansi;
	uint8_t red, green, blue;
} looks[] = {
	[NOTHING] = { "not said", '.', "\033[90m", 0xdd, 0xdd, 0xdd },
	[SHARED] = { "shared", 's', "\033[33m", 0xe6, 0x9f, 0x00 },
	[PRIVATE] = { "private", 'P', "\033[34m", 0x00, 0x72, 0xb2 },
	[BOTH] = { "some of each", 'm', "\033[35m", 0xcc, 0x79, 0xa7 },
};

#define NR_LOOKS (sizeof(looks) / sizeof(looks[0]))

struct range {
	uint64_t start;
	uint64_t end;
	bool is_private;
};

struct picture {
	struct range *ranges;
	size_t nr_ranges;
	uint64_t start;
	uint64_t end;
	/* Bytes that a cell stands for. */
	uint64_t per_cell;
	uint8_t *cells;
	unsigned int nr_cells;
	unsigned int columns;
	unsigned int rows;
};

static void add_range(struct picture *picture, uint64_t start, uint64_t end, bool is_private)
{
	size_t nr = picture->nr_ranges;

	/* Doubles when it is full, which is when its number is a power of two. */
	if (!(nr & (nr - 1))) {
		picture->ranges = realloc(picture->ranges, (nr ? 2 * nr : 1) * sizeof(struct range));
		if (!picture->ranges)
			die("%zu ranges", nr);
	}
	picture->ranges[nr] = (struct range){ start, end, is_private };
	picture->nr_ranges++;
	if (!nr || start < picture->start)
		picture->start = start;
	if (end > picture->end)
		picture->end = end;
}

/* False if @line is not START END private|shared. */
static bool parse_range(const char *line, struct range *range)
{
	char state[16], rest, *at;
	long long start, end;

	errno = 0;
	start = strtoll(line, &at, 0);
	end = strtoll(at, &at, 0);
	if (errno || start < 0 || end <= start || sscanf(at, "%15s %c", state, &rest) != 1 ||
	    (strcmp(state, "private") && strcmp(state, "shared")))
		return false;

	*range = (struct range){ start, end, !strcmp(state, "private") };
	return true;
}

static void read_file(struct picture *picture, const char *name)
{
	FILE *file = strcmp(name, "-") ? fopen(name, "r") : stdin;
	unsigned int number = 0;
	struct range range;
	char *line = NULL;
	size_t room = 0;

	if (!file)
		die("cannot read '%s'", name);
	if (file == stdin)
		name = "standard input";
	while (getline(&line, &room, file) > 0) {
		const char *text = line + strspn(line, " \t\r\n");

		number++;
		if (!*text || *text == '#')
			continue;
		if (!parse_range(text, &range)) {
			errno = 0;
			die("%s:%u: not 'START END private' or 'START END shared' in bytes, "
			    "START < END < 2^63", name, number);
		}
		add_range(picture, range.start, range.end, range.is_private);
	}
	free(line);
	if (ferror(file))
		die("cannot read '%s'", name);
	if (file != stdin)
		fclose(file);
	if (!picture->nr_ranges) {
		errno = 0;
		die("%s says nothing of any range", name);
	}
}

/* A real memory, after a guest has asked for this and that. */
static void make_demo(struct picture *picture)
{
	uint64_t size = DEMO_PAGES * PAGE, offset;
	struct gmem_range range;
	const char *lacking;
	struct gmem *gmem;
	struct vm vm;
	int i;

	lacking = vm_create(&vm, GMEM_MECHANISM_NONE);
	if (lacking)
		die_unsupported(lacking);
	gmem = vm_memory(&vm, size, GMEM_PRIVATE, VM_DATA_SLOT, 1ull << 32, NULL);
	srand(1);
	for (i = 0; i < 60; i++) {
		uint64_t nr = 1 + rand() % (i < 20 ? 200 : 8), first = rand() % (DEMO_PAGES - nr);

		if (convert(gmem, first * PAGE, nr * PAGE,
			    i % 4 == 3 ? GMEM_PRIVATE : GMEM_SHARED, GMEM_NONE, NULL))
			die("conversion");
	}
	for (offset = 0; offset < size; offset += range.size) {
		gmem_lookup(gmem, offset, &range);
		add_range(picture, offset, offset + range.size, range.attributes == GMEM_PRIVATE);
	}
	gmem_destroy(gmem);
	vm_destroy(&vm);
}

static void lay_out(struct picture *picture, unsigned int columns)
{
	uint64_t size, cell, last;
	size_t i;

	picture->start &= ~(PAGE - 1);
	size = picture->end - picture->start;
	picture->columns = columns;
	picture->per_cell = PAGE;
	/* As many rows as columns at most, and a power of two of pages in each cell. */
	while ((size - 1) / picture->per_cell >= (uint64_t)columns * columns)
		picture->per_cell *= 2;
	picture->nr_cells = (size - 1) / picture->per_cell + 1;
	picture->rows = (picture->nr_cells - 1) / columns + 1;
	picture->cells = calloc(picture->nr_cells, 1);
	if (!picture->cells)
		die("%u cells", picture->nr_cells);

	for (i = 0; i < picture->nr_ranges; i++) {
		cell = (picture->ranges[i].start - picture->start) / picture->per_cell;
		last = (picture->ranges[i].end - 1 - picture->start) / picture->per_cell;
		for (; cell <= last; cell++)
			picture->cells[cell] |= picture->ranges[i].is_private ? PRIVATE : SHARED;
	}
}

/* "4 KiB" and the like, for powers of two. */
static const char *human(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	static char text[32];
	int unit = 0;

	while (bytes >= 1024 && !(bytes % 1024)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, sizeof(text), "%llu %s", (unsigned long long)bytes, units[unit]);
	return text;
}

static void draw_terminal(const struct picture *picture)
{
	bool colours = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	unsigned int i;

	for (i = 0; i < picture->nr_cells; i++) {
		const struct look *look = &looks[picture->cells[i]];

		if (i % picture->columns == 0)
			printf("%s%12llx  ", i ? "\n" : "",
			       (unsigned long long)(picture->start + i * picture->per_cell));
		if (colours)
			printf("%s\u2588", look->ansi);
		else
			putchar(look->letter);
		if (colours && (i % picture->columns == picture->columns - 1 ||
				i == picture->nr_cells - 1))
			printf("\033[0m");
	}

	printf("\n\n%s a cell:", human(picture->per_cell));
	for (i = 0; i < NR_LOOKS; i++) {
		if (colours)
			printf("  %s\u2588\033[0m %s", looks[i].ansi, looks[i].name);
		else
			printf("  %c %s", looks[i].letter, looks[i].name);
	}
	putchar('\n');
}

static void draw_svg(const struct picture *picture, FILE *file)
{
	unsigned int width = picture->columns * CELL_PIXELS, i, run;
	unsigned int height = (picture->rows + 2) * CELL_PIXELS;

	if (width < 480)
		width = 480;
	fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"font-family=\"sans-serif\" font-size=\"%u\">\n", width, height, CELL_PIXELS);
	for (i = 0; i < picture->nr_cells; i += run) {
		const struct look *look = &looks[picture->cells[i]];

		/* One rectangle for equal cells of a row. */
		for (run = 1; i + run < picture->nr_cells && (i + run) % picture->columns &&
		     picture->cells[i + run] == picture->cells[i]; run++)
			;
		fprintf(file, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"#%02x%02x%02x\">"
			"<title>%#llx: %s</title></rect>\n",
			i % picture->columns * CELL_PIXELS, i / picture->columns * CELL_PIXELS,
			run * CELL_PIXELS, CELL_PIXELS - 1, look->red, look->green, look->blue,
			(unsigned long long)(picture->start + i * picture->per_cell), look->name);
	}
	for (i = 0; i < NR_LOOKS; i++) {
		fprintf(file, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"#%02x%02x%02x\"/>",
			i * 100u, height - CELL_PIXELS, CELL_PIXELS - 2, CELL_PIXELS - 2,
			looks[i].red, looks[i].green, looks[i].blue);
		fprintf(file, "<text x=\"%u\" y=\"%u\">%s</text>\n", i * 100u + CELL_PIXELS + 2,
			height - 2, looks[i].name);
	}
	fprintf(file, "<text x=\"%u\" y=\"%u\">%s a cell</text>\n</svg>\n", 400u, height - 2,
		human(picture->per_cell));
}

static void draw_png(const struct picture *picture, FILE *file)
{
	unsigned int width = picture->columns * CELL_PIXELS, height = picture->rows * CELL_PIXELS;
	png_image image = {
		.version = PNG_IMAGE_VERSION,
		.width = width,
		.height = height,
		.format = PNG_FORMAT_RGB,
	};
	uint8_t *pixels = malloc(3ul * width * height), *at = pixels;
	unsigned int x, y, cell;

	if (!pixels)
		die("a picture of %u by %u", width, height);
	memset(pixels, 0xff, 3ul * width * height);
	for (y = 0; y < height; y++) {
		for (x = 0; x < width; x++, at += 3) {
			cell = y / CELL_PIXELS * picture->columns + x / CELL_PIXELS;
			if (cell >= picture->nr_cells || y % CELL_PIXELS == CELL_PIXELS - 1)
				continue;
			at[0] = looks[picture->cells[cell]].red;
			at[1] = looks[picture->cells[cell]].green;
			at[2] = looks[picture->cells[cell]].blue;
		}
	}
	if (!png_image_write_to_stdio(&image, file, 0, pixels, 0, NULL)) {
		errno = 0;
		die("cannot write the picture: %s", image.message);
	}
	free(pixels);
}

static void draw_file(const struct picture *picture, const char *name)
{
	const char *dot = strrchr(name, '.');
	FILE *file;

	if (!dot || (strcmp(dot, ".svg") && strcmp(dot, ".png")))
		die_usage("'%s' is neither .svg nor .png", name);
	file = fopen(name, "w");
	if (!file)
		die("cannot write '%s'", name);
	if (!strcmp(dot, ".svg"))
		draw_svg(picture, file);
	else
		draw_png(picture, file);
	if (fclose(file))
		die("cannot write '%s'", name);
}

int cmd_map(int argc, char **argv)
{
	static const struct option options[] = {
		{ "demo", no_argument, NULL, 'd' },
		{ "width", required_argument, NULL, 'w' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct picture picture = {};
	const char *output = NULL;
	unsigned long columns = 64;
	bool demo = false;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "w:o:h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			demo = true;
			break;
		case 'w':
			columns = strtoul(optarg, &end, 0);
			if (*end || columns < 1 || columns > MAX_COLUMNS)
				die_usage("'%s' columns, where 1 to %d are possible", optarg, MAX_COLUMNS);
			break;
		case 'o':
			output = optarg;
			break;
		case 'h':
			puts("usage: gmem map [-w COLUMNS] [-o FILE.svg|FILE.png] FILE|-|--demo\n"
			     "FILE has lines of START END private|shared, in bytes.");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != (demo ? 0 : 1))
		die_usage("map takes one FILE, or --demo");

	if (demo)
		make_demo(&picture);
	else
		read_file(&picture, argv[optind]);
	lay_out(&picture, columns);
	if (output)
		draw_file(&picture, output);
	else
		draw_terminal(&picture);

	free(picture.cells);
	free(picture.ranges);
	return EXIT_OK;
}
