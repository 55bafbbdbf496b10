/* ---- >>pain: the UNBC-McMaster shoulder pain archive --------------------------------
   FOLDER/Images/S/Q/F.png                      frame F of sequence Q of subject S
   FOLDER/AAM_landmarks/S/Q/F_aam.txt           66 lines: x y, pixels of that frame
   FOLDER/Frame_Labels/PSPI/S/Q/F_facs.txt      the intensity of pain, 0 to 16
   FOLDER/frames.txt                            S/Q/F_aam.txt, a line a frame, sorted
   TKN 4.1: a face is warped to a frontal, upright one before it is cut out and scaled to
   48 x 48. The frontal face is the table below; its Delaunay triangles between the 66 points
   carry the pixels, straight from the frame, and what lies outside of them is black. A pixel is
   the mean of 2 x 2 places, each read between four pixels of the frame. Noise moves the
   frame's points, anew in each epoch; a flip mirrors the face after it.      */
enum { LSNNI_FACE_POINTS = 66, LSNNI_FACE_SIDE = 48, LSNNI_FACE_FINE = 2 * LSNNI_FACE_SIDE,
       LSNNI_FACE_SPOTS = LSNNI_FACE_FINE * LSNNI_FACE_FINE, LSNNI_PAIN_MOST = 16 };
typedef struct lsnni_point { double x, y; } lsnni_point;

/* A place of the fine picture: its triangle's points and how near it is to each. a < 0: none. */
typedef struct lsnni_spot { int16_t point[3]; float part[3]; } lsnni_spot;

/* What is kept of a frame: the face's box and its points in it.              */
typedef struct lsnni_face {
    lsnn_image box;
    float x[LSNNI_FACE_POINTS], y[LSNNI_FACE_POINTS];
} lsnni_face;

struct lsnni_faces {
    lsnni_spot spot[LSNNI_FACE_SPOTS];
    lsnni_face face[1];              /* as many as there are frames           */
};

/* ---- the frontal face -------------------------------------------------------------*/
/* Brow, eye, nose and mouth of the left half, in thousandths of the face's width from its left
   edge and of its height from its top: point, x, y, and the point opposite (itself: it lies in
   the middle). The jaw, 0 to 16, is an arc.                                  */
static const short lsnni_face_half[][4] = {
    { 17, 100, 110, 26 }, { 18, 165,  45, 25 }, { 19, 250,  20, 24 }, { 20, 340,  30, 23 },
    { 21, 420,  65, 22 }, { 27, 500, 210, 27 }, { 28, 500, 310, 28 }, { 29, 500, 405, 29 },
    { 30, 500, 500, 30 }, { 31, 385, 560, 35 }, { 32, 440, 580, 34 }, { 33, 500, 595, 33 },
    { 36, 185, 225, 45 }, { 37, 240, 190, 44 }, { 38, 310, 190, 43 }, { 39, 365, 235, 42 },
    { 40, 310, 255, 47 }, { 41, 240, 255, 46 }, { 48, 315, 745, 54 }, { 49, 380, 710, 53 },
    { 50, 450, 690, 52 }, { 51, 500, 700, 51 }, { 57, 500, 835, 57 }, { 58, 440, 825, 56 },
    { 59, 370, 795, 55 }, { 60, 425, 742, 62 }, { 61, 500, 748, 61 }, { 64, 500, 772, 64 },
    { 65, 425, 765, 63 }
};

static void lsnni_face_front(lsnni_point p[LSNNI_FACE_POINTS])
{
    const double pi = 3.141592653589793;
    for (int i = 0; i <= 16; i++) {
        p[i].x = 0.5 - 0.5 * cos(pi * i / 16);
        p[i].y = 0.23 + 0.77 * sin(pi * i / 16);
    }
    for (size_t i = 0; i < sizeof lsnni_face_half / sizeof *lsnni_face_half; i++) {
        const short *h = lsnni_face_half[i];
        p[h[0]].x = h[1] / 1000.0;
        p[h[3]].x = 1 - h[1] / 1000.0;
        p[h[0]].y = p[h[3]].y = h[2] / 1000.0;
    }
}

/* Twice the area of a, b, c; positive if they turn to the left.               */
static double lsnni_area_of(lsnni_point a, lsnni_point b, lsnni_point c)
{
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

/* Is d inside of the circle through a, b, c, which turn to the left?          */
static int lsnni_in_circle(lsnni_point a, lsnni_point b, lsnni_point c, lsnni_point d)
{
    double ax = a.x - d.x, ay = a.y - d.y, bx = b.x - d.x, by = b.y - d.y;
    double cx = c.x - d.x, cy = c.y - d.y;
    return (ax * ax + ay * ay) * (bx * cy - cx * by) - (bx * bx + by * by) * (ax * cy - cx * ay) +
           (cx * cx + cy * cy) * (ax * by - bx * ay) > 0;
}

/* Enters triangle t wherever a place of the fine picture lies in it.          */
static void lsnni_face_triangle(lsnni_spot *spot, const lsnni_point *p, const int t[3])
{
    double area = lsnni_area_of(p[t[0]], p[t[1]], p[t[2]]);
    for (int i = 0; i < LSNNI_FACE_SPOTS; i++) {
        double part[3];
        int in = spot[i].point[0] < 0;
        lsnni_point at;              /* the face fills 46 of the 48 pixels     */
        at.x = (i % LSNNI_FACE_FINE + 0.5 - 2) / (LSNNI_FACE_FINE - 4);
        at.y = (i / LSNNI_FACE_FINE + 0.5 - 2) / (LSNNI_FACE_FINE - 4);
        for (int k = 0; k < 3; k++) {
            part[k] = lsnni_area_of(p[t[(k + 1) % 3]], p[t[(k + 2) % 3]], at) / area;
            in &= part[k] >= 0;
        }
        for (int k = 0; k < 3 && in; k++) {
            spot[i].point[k] = (int16_t)t[k];
            spot[i].part[k] = (float)part[k];
        }
    }
}

/* Three points make a triangle if no other lies in their circle. Mirrored points lie on one
   circle by fours: the triangles are those of points moved a little apart.    */
static void lsnni_face_spots(lsnni_spot *spot)
{
    lsnni_point p[LSNNI_FACE_POINTS], apart[LSNNI_FACE_POINTS];
    int t[3];
    lsnni_face_front(p);
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        apart[i].x = p[i].x + 1e-5 * (i * 37 % 101);
        apart[i].y = p[i].y + 1e-5 * (i * 53 % 97);
    }
    for (int i = 0; i < LSNNI_FACE_SPOTS; i++) spot[i].point[0] = -1;
    for (int a = 0; a < LSNNI_FACE_POINTS; a++)
    for (int b = a + 1; b < LSNNI_FACE_POINTS; b++)
    for (int c = b + 1; c < LSNNI_FACE_POINTS; c++) {
        int left = lsnni_area_of(apart[a], apart[b], apart[c]) > 0, empty = 1;
        t[0] = a;
        t[1] = left ? b : c;
        t[2] = left ? c : b;
        for (int d = 0; d < LSNNI_FACE_POINTS && empty; d++)
            if (d != a && d != b && d != c)
                empty = !lsnni_in_circle(apart[a], apart[t[1]], apart[t[2]], apart[d]);
        if (empty && lsnni_area_of(p[a], p[t[1]], p[t[2]]) > 0) lsnni_face_triangle(spot, p, t);
    }
}

/* ---- warping ----------------------------------------------------------------------*/
/* Adds what lies at (x, y) of an image, pixel centres at whole numbers, to rgb. */
static void lsnni_image_between(const lsnn_image *im, float x, float y, float rgb[3])
{
    int x0, y0, x1, y1;
    x = LSNNI_MIN(LSNNI_MAX(x, 0.0f), (float)(im->w - 1));
    y = LSNNI_MIN(LSNNI_MAX(y, 0.0f), (float)(im->h - 1));
    x0 = (int)x;
    y0 = (int)y;
    x1 = LSNNI_MIN(x0 + 1, im->w - 1);
    y1 = LSNNI_MIN(y0 + 1, im->h - 1);
    x -= (float)x0;
    y -= (float)y0;
    for (int c = 0; c < 3; c++) {
        const unsigned char *v = im->rgb + c;
        float a = v[3 * (y0 * im->w + x0)], b = v[3 * (y0 * im->w + x1)];
        float low = v[3 * (y1 * im->w + x0)], d = v[3 * (y1 * im->w + x1)];
        a += x * (b - a);
        low += x * (d - low);
        rgb[c] += a + y * (low - a);
    }
}

static void lsnni_face_warp(const lsnni_spot *spot, const lsnni_face *f, const float *px,
                            const float *py, int flip, lsnn_real *x)
{
    for (int i = 0; i < LSNNI_FACE_SIDE; i++)
        for (int j = 0; j < LSNNI_FACE_SIDE; j++) {
            float rgb[3] = { 0, 0, 0 };
            int at = i * LSNNI_FACE_SIDE + (flip ? LSNNI_FACE_SIDE - 1 - j : j);
            for (int k = 0; k < 4; k++) {
                const lsnni_spot *s = &spot[(2 * i + k / 2) * LSNNI_FACE_FINE + 2 * j + k % 2];
                float sx = 0, sy = 0;
                for (int c = 0; c < 3 && s->point[0] >= 0; c++) {
                    sx += s->part[c] * px[s->point[c]];
                    sy += s->part[c] * py[s->point[c]];
                }
                if (s->point[0] >= 0) lsnni_image_between(&f->box, sx, sy, rgb);
            }
            for (int c = 0; c < 3; c++)
                x[c * LSNNI_FACE_SIDE * LSNNI_FACE_SIDE + at] = LSNNI_R(rgb[c]) / (4 * 255);
        }
}

static void lsnni_fetch_pain(const void *user, uint32_t epoch, int index, lsnn_real *x,
                             int *labels, lsnn_real *targets)
{
    const lsnn_pain *p = (const lsnn_pain *)user;
    const lsnni_face *f = &p->faces_->face[index];
    lsnn_rng r = lsnn_rng_at(p->seed, "pain", "", epoch, (uint32_t)index);
    float px[LSNNI_FACE_POINTS], py[LSNNI_FACE_POINTS];
    /* a pixel of the picture in those of the frame: the jaw's ends are 46 apart */
    double scale = p->noise * hypot((double)(f->x[16] - f->x[0]), (double)(f->y[16] - f->y[0])) /
                   (LSNNI_FACE_SIDE - 2);
    int flip = p->flip && lsnn_rng_int(&r, 2);
    (void)labels;
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        px[i] = f->x[i] + (float)(p->noise > 0 ? scale * lsnn_rng_normal(&r) : 0);
        py[i] = f->y[i] + (float)(p->noise > 0 ? scale * lsnn_rng_normal(&r) : 0);
    }
    lsnni_face_warp(p->faces_->spot, f, px, py, flip, x);
    if (targets) targets[0] = LSNNI_R(p->level[index]);
}

/* ---- reading ----------------------------------------------------------------------*/
typedef struct lsnni_pain_reader {
    lsnn_ctx *cx;
    const char *folder;
    char *path;
    size_t room;
} lsnni_pain_reader;

/* FOLDER/within/frame + ending, in r->path. line: S/Q/F_aam.txt, perhaps with ./ before it. */
static const char *lsnni_pain_path(lsnni_pain_reader *r, const char *within, const char *line,
                                   const char *ending)
{
    size_t n = strlen(line) - strlen("_aam.txt");
    if (!strncmp(line, "./", 2)) line += 2, n -= 2;
    snprintf(r->path, r->room, "%s/%s/%.*s%s", r->folder, within, (int)n, line, ending);
    return r->path;
}

/* Reads `count` numbers, no more and no fewer, from a file of them; `what` they are. */
static lsnn_status lsnni_numbers_read(lsnn_ctx *cx, const char *path, const char *what,
                                      double *v, int count)
{
    lsnni_content file;
    char *at;
    int n = 0, good = 1;
    LSNNI_TRY(lsnni_content_read(cx, &file, path));
    at = (char *)file.v;
    while (good) {
        char *word, stop;
        while (lsnni_is_space((unsigned char)*at)) at++;
        word = at;
        while (*at && !lsnni_is_space((unsigned char)*at)) at++;
        if (at == word) break;
        stop = *at;
        *at = 0;
        good = n < count && lsnni_parse_number(word, &v[n]) && fabs(v[n]) <= 1e6;
        n++;
        if (!good)
            lsnni_fail(cx, LSNN_EFORMAT, "%s: number %d, '%.30s': it should have %d: %s",
                       file.shown, n, word, count, what);
        *at = stop;
    }
    if (good && (n < count || at != (char *)file.v + file.count)) {
        good = 0;
        lsnni_fail(cx, LSNN_EFORMAT, "%s: has %d numbers and should have %d: %s", file.shown, n,
                   count, what);
    }
    lsnni_free(cx, file.v);
    return good ? LSNN_OK : LSNN_EFORMAT;
}

/* Cuts the points' box, a tenth of the face wider on each side, out of the frame.  */
static lsnn_status lsnni_face_cut(lsnn_ctx *cx, lsnni_face *f, const lsnn_image *im,
                                  const double *v, const char *path)
{
    double low[2] = { 1e9, 1e9 }, high[2] = { -1e9, -1e9 }, side[2], edge;
    int from[2], to[2];
    side[0] = im->w;
    side[1] = im->h;
    for (int i = 0; i < 2 * LSNNI_FACE_POINTS; i++) {
        low[i % 2] = LSNNI_MIN(low[i % 2], v[i]);
        high[i % 2] = LSNNI_MAX(high[i % 2], v[i]);
    }
    edge = 0.1 * (high[0] - low[0]) + 1;
    for (int k = 0; k < 2; k++) {
        from[k] = (int)LSNNI_MAX(0, floor(low[k] - edge));
        to[k] = (int)LSNNI_MIN(side[k], ceil(high[k] + edge) + 1);
        if (low[k] < -side[k] || high[k] > 2 * side[k] || from[k] >= to[k])
            return lsnni_fail(cx, LSNN_EVALUE, "%s: landmarks from %.1f to %.1f, the frame has "
                              "%.0f pixels in that direction", lsnni_path_end(path), low[k],
                              high[k], side[k]);
    }
    LSNNI_TRY(lsnni_image_room(cx, &f->box, path, to[0] - from[0], to[1] - from[1]));
    for (int i = 0; i < f->box.h; i++)
        memcpy(f->box.rgb + lsnni_area(i, f->box.w) * 3,
               im->rgb + 3 * (lsnni_area(from[1] + i, im->w) + (size_t)from[0]),
               (size_t)f->box.w * 3);
    for (int i = 0; i < LSNNI_FACE_POINTS; i++) {
        f->x[i] = (float)(v[2 * i] - from[0]);
        f->y[i] = (float)(v[2 * i + 1] - from[1]);
    }
    return LSNN_OK;
}

static lsnn_status lsnni_pain_frame(lsnni_pain_reader *r, const char *line, lsnni_face *f,
                                    unsigned char *level)
{
    double v[2 * LSNNI_FACE_POINTS], pain;
    lsnn_image im;
    lsnn_status s;
    LSNNI_TRY(lsnni_numbers_read(r->cx, lsnni_pain_path(r, "Frame_Labels/PSPI", line, "_facs.txt"),
                                 "the intensity of pain", &pain, 1));
    if (!(pain >= 0 && pain <= (int)LSNNI_PAIN_MOST && pain <= floor(pain)))
        return lsnni_fail(r->cx, LSNN_EVALUE, "%s: the intensity of pain is %g, not a whole number "
                          "in 0..%d", lsnni_path_end(r->path), pain, (int)LSNNI_PAIN_MOST);
    *level = (unsigned char)pain;
    LSNNI_TRY(lsnni_numbers_read(r->cx, lsnni_pain_path(r, "AAM_landmarks", line, "_aam.txt"),
                                 "66 landmarks, x and y", v, 2 * LSNNI_FACE_POINTS));
    LSNNI_TRY(lsnni_image_open(r->cx, &im, lsnni_pain_path(r, "Images", line, ".png")));
    s = lsnni_face_cut(r->cx, f, &im, v, r->path);
    lsnni_free(r->cx, im.rgb);
    return s;
}

/* The subject of a line: 0, or 1 more than the line before if that has another; -1: it is no
   frame's, or does not come after the one before. name: the last line's, to be replaced. */
static int lsnni_pain_subject(const char *line, const char **name, int last)
{
    const char *start = strncmp(line, "./", 2) ? line : line + 2;
    size_t n = strcspn(start, "/"), length = strlen(start);
    int same = *name && !strncmp(*name, start, n + 1);
    if (!start[n] || length < n + 10 || length > 200 ||
        strcmp(start + length - 8, "_aam.txt") != 0) return -1;
    if (*name && strcmp(*name, start) >= 0) return -1;
    *name = start;
    return same ? last : last + 1;
}

static lsnn_status lsnni_pain_frames(lsnni_pain_reader *r, lsnn_pain *p, lsnni_table *t,
                                     int first, int count)
{
    const char *name = NULL;
    int subject = -1;
    lsnni_face_spots(p->faces_->spot);
    while (lsnni_table_next(t)) {
        subject = lsnni_pain_subject(t->field[0], &name, subject);
        if (subject < 0)
            return lsnni_fail(r->cx, LSNN_EFORMAT, "%s: line %d: '%.60s' should be "
                              "SUBJECT/SEQUENCE/FRAME_aam.txt, the lines sorted (LC_ALL=C sort)",
                              t->shown, t->line, t->field[0]);
        if (subject < first || (count && subject >= first + count)) continue;
        LSNNI_TRY(lsnni_pain_frame(r, t->field[0], &p->faces_->face[p->count],
                                   &p->level[p->count]));
        p->subject[p->count++] = subject;
    }
    p->subjects = subject + 1;
    if (!p->count || (count && first + count > p->subjects))
        return lsnni_fail(r->cx, LSNN_EVALUE, "%s: has %d subjects; %d from number %d on are "
                          "asked for", t->shown, p->subjects, count, first);
    return LSNN_OK;
}

LSNN_API void lsnn_pain_free(lsnn_ctx *cx, lsnn_pain *p)
{
    for (int i = 0; p->faces_ && i < p->room_; i++) lsnni_free(cx, p->faces_->face[i].box.rgb);
    lsnni_free(cx, p->faces_);
    lsnni_free(cx, p->level);
    lsnni_free(cx, p->subject);
    memset(p, 0, sizeof *p);
}

static lsnn_status lsnni_pain_room(lsnn_ctx *cx, lsnn_pain *p, int lines, const char *who)
{
    size_t n = (size_t)lines;
    if (lines < 1) return lsnni_fail(cx, LSNN_EFORMAT, "%s: has no lines", who);
    p->faces_ = (struct lsnni_faces *)
        lsnni_alloc(cx, 1, lsnni_times(n, sizeof(lsnni_face)) + sizeof *p->faces_);
    p->level = (unsigned char *)lsnni_alloc(cx, n, 1);
    p->subject = (int *)lsnni_alloc(cx, n, sizeof *p->subject);
    p->room_ = p->faces_ ? lines : 0;
    return p->faces_ && p->level && p->subject ? LSNN_OK : LSNN_ENOMEM;
}

/* frames.txt is not a part of the archive: says how to make it.              */
static lsnn_status lsnni_pain_list(lsnn_ctx *cx, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return lsnni_fail(cx, LSNN_EIO, "%s: cannot be opened. It names the frames: make it in "
                          "AAM_landmarks by  find . -name '*_aam.txt' | LC_ALL=C sort > "
                          "../frames.txt", lsnni_path_end(path));
    fclose(f);
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_pain_read(lsnn_ctx *cx, lsnn_pain *p, const char *folder, int first,
                                    int subjects)
{
    lsnni_pain_reader r;
    lsnni_table t;
    lsnni_content file;
    lsnn_status s;
    int lines = 0;
    memset(p, 0, sizeof *p);
    memset(&t, 0, sizeof t);
    LSNNI_TRY(lsnni_path_check(cx, "lsnn_pain_read: folder", folder));
    if (first < 0 || subjects < 0 || first > INT_MAX - subjects)
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_pain_read: %d subjects from number %d on",
                          subjects, first);
    r.cx = cx;
    r.folder = folder;
    r.room = strlen(folder) + 300;
    r.path = (char *)lsnni_alloc(cx, r.room, 1);
    if (!r.path) return LSNN_ENOMEM;
    memset(&file, 0, sizeof file);
    snprintf(r.path, r.room, "%s/frames.txt", folder);
    s = lsnni_pain_list(cx, r.path);
    if (s == LSNN_OK) s = lsnni_content_read(cx, &file, r.path);
    if (s == LSNN_OK) s = lsnni_table_begin(cx, &t, &file, &lines);
    if (s == LSNN_OK) s = lsnni_pain_room(cx, p, lines, file.shown);
    if (s == LSNN_OK) s = lsnni_pain_frames(&r, p, &t, first, subjects);
    lsnni_free(cx, file.v);
    lsnni_free(cx, r.path);
    if (s != LSNN_OK) lsnn_pain_free(cx, p);
    return s;
}

LSNN_API lsnn_status lsnn_data_pain(lsnn_ctx *cx, lsnn_data *d, const lsnn_pain *p)
{
    memset(d, 0, sizeof *d);
    if (!p->faces_ || !(p->noise >= 0 && p->noise <= (int)LSNNI_FACE_SIDE))
        return lsnni_fail(cx, LSNN_EVALUE, "lsnn_data_pain: noise %g pixels (0..%d) of %s",
                          p->noise, (int)LSNNI_FACE_SIDE, p->faces_ ? "the frames" : "no frames: "
                          "call lsnn_pain_read first");
    d->count = p->count;
    d->shape.c = 3;
    d->shape.h = d->shape.w = LSNNI_FACE_SIDE;
    d->target_count = 1;
    d->fetch = lsnni_fetch_pain;
    d->user = p;
    return LSNN_OK;
}
