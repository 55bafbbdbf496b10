/* stb.h - stb_image's stbi_load, where stb_image.h is installed; else one that says so. For
   what reads somebody's pictures: picture.h, and app.h's app_read_picture.               */
#ifndef STB_H
#define STB_H
#if defined(__has_include)
#  if __has_include(<stb/stb_image.h>)
#    define STB_IMAGE_H <stb/stb_image.h>
#  elif __has_include(<stb_image.h>)
#    define STB_IMAGE_H <stb_image.h>
#  endif
#endif
#ifdef STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wconversion"
#    pragma GCC diagnostic ignored "-Wsign-conversion"
#    pragma GCC diagnostic ignored "-Wunused-parameter"
#    pragma GCC diagnostic ignored "-Wunused-function"
#    pragma GCC diagnostic ignored "-Wpedantic"
#    pragma GCC diagnostic ignored "-Wshadow"
#  endif
#  define STB_IMAGE_IMPLEMENTATION
#  include STB_IMAGE_H
#  if defined(__GNUC__)
#    pragma GCC diagnostic pop
#  endif
#else
static unsigned char *stbi_load(const char *path, int *w, int *h, int *n, int want)
{
    (void)path; (void)w; (void)h; (void)n; (void)want;
    return NULL;
}
static const char *stbi_failure_reason(void) { return "built without stb_image.h"; }
static void stbi_image_free(void *v) { (void)v; }
#endif
#endif
