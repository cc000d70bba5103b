// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "cmd.h"
#include "font.h"

/* Pixels of a pixel of the font. */
#define SCALE	2u

/* Colours after those of the cells. */
enum { PAPER = NR_CELL_KINDS, INK, NR_COLOURS };

struct png {
	struct canvas canvas;
	uint8_t *pixels;
};

static void fill(struct png *png, unsigned int x, unsigned int y, unsigned int width,
		 unsigned int height, uint8_t colour)
{
	unsigned int row;

	for (row = y; row < y + height; row++)
		memset(png->pixels + (size_t)row * png->canvas.width + x, colour, width);
}

static void box(struct canvas *canvas, unsigned int x, unsigned int y, unsigned int width,
		unsigned int height, enum cell kind, const char *title)
{
	(void)title;
	fill((struct png *)canvas, x, y, width, height, kind);
}

static void text(struct canvas *canvas, unsigned int x, unsigned int y, const char *what)
{
	unsigned int row, column;
	const uint8_t *glyph;

	for (; *what; what++, x += CANVAS_LETTER) {
		glyph = font_glyph(*what);
		for (row = 0; row < FONT_ROWS; row++) {
			for (column = 0; column < FONT_COLUMNS; column++) {
				if (glyph[row] >> (FONT_COLUMNS - 1 - column) & 1)
					fill((struct png *)canvas, x + column * SCALE, y + row * SCALE,
					     SCALE, SCALE, INK);
			}
		}
	}
}

void map_draw_png(FILE *to, const struct picture *pictures, size_t nr)
{
	struct png png = { .canvas = { .box = box, .text = text } };
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t colours[NR_COLOURS][3] = {
		[PAPER] = { 0xff, 0xff, 0xff },
		[INK] = { 0, 0, 0 },
	};
	unsigned int i;

	for (i = 0; i < NR_CELL_KINDS; i++)
		memcpy(colours[i], (uint8_t []){ map_looks[i].red, map_looks[i].green, map_looks[i].blue }, 3);
	map_measure(&png.canvas, pictures, nr);
	image.width = png.canvas.width;
	image.height = png.canvas.height;
	image.format = PNG_FORMAT_RGB_COLORMAP;
	image.colormap_entries = NR_COLOURS;
	png.pixels = malloc((size_t)image.width * image.height);
	if (!png.pixels)
		die("a picture of %u by %u", image.width, image.height);
	memset(png.pixels, PAPER, (size_t)image.width * image.height);
	map_paint(&png.canvas, pictures, nr);
	if (!png_image_write_to_stdio(&image, to, 0, png.pixels, 0, colours)) {
		errno = 0;
		die("cannot make the picture: %s", image.message);
	}
	free(png.pixels);
}
