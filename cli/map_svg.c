// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "canvas.h"

struct svg {
	struct canvas canvas;
	FILE *to;
};

/*
 * A process may have any name; what XML does not allow, or may not be UTF-8, becomes a question
 * mark.
 */
static void escape(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '<' || *text == '&')
			fprintf(to, "&#%d;", *text);
		else
			putc(*text < ' ' || *text > '~' ? '?' : *text, to);
	}
}

static void box(struct canvas *canvas, unsigned int x, unsigned int y, unsigned int width,
		unsigned int height, enum cell kind, const char *title)
{
	FILE *to = ((struct svg *)canvas)->to;
	const struct map_look *look = &map_looks[kind];

	fprintf(to, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"#%02x%02x%02x\"><title>",
		x, y, width, height, look->red, look->green, look->blue);
	escape(to, title);
	fprintf(to, "</title></rect>\n");
}

/* As wide as it was measured, whatever the font. */
static void text(struct canvas *canvas, unsigned int x, unsigned int y, const char *what)
{
	FILE *to = ((struct svg *)canvas)->to;
	unsigned int length;

	/* XML collapses blanks at the beginning. */
	for (; *what == ' '; what++)
		x += CANVAS_LETTER;
	for (length = 0; what[length]; length++)
		;
	fprintf(to, "<text x=\"%u\" y=\"%u\" textLength=\"%u\">", x, y + CANVAS_TEXT - 1,
		length * CANVAS_LETTER - 2);
	escape(to, what);
	fprintf(to, "</text>\n");
}

void map_draw_svg(FILE *to, const struct picture *pictures, size_t nr)
{
	struct svg svg = { .canvas = { .box = box, .text = text }, .to = to };

	map_measure(&svg.canvas, pictures, nr);
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"font-family=\"monospace\" font-size=\"18\" xml:space=\"preserve\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", svg.canvas.width,
		svg.canvas.height);
	map_paint(&svg.canvas, pictures, nr);
	fprintf(to, "</svg>\n");
}
