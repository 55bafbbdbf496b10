/* ---- >>mpi: the ranks are MPI's ----------------------------------------------------------
   Two communicators of our own, so that nothing meets the program's messages, and gradients
   in the background keep an order of their own. MPI's own failures end the job: that is its
   default, and mpirun says which rank was lost. Open MPI moves what is in the background only
   while it is called: hence `move`, between the layers.                      */
#ifdef LSNN_NAIVE
#error "lsnn: LSNN_USE_MPI and LSNN_NAIVE do not go together: the naive pairs know one process"
#endif
#ifdef LSNN_DOUBLE
#define LSNNI_MPI_REAL MPI_DOUBLE
#else
#define LSNNI_MPI_REAL MPI_FLOAT
#endif
typedef struct lsnni_mpi {
    lsnni_carrier c;                 /* first: the context points to it       */
    MPI_Comm sums, gradients;
    MPI_Request request[LSNNI_CHUNKS], ending;
    MPI_Status status[LSNNI_CHUNKS]; /* unused: gcc warns of MPICH's word for none */
    int requests, initialised;       /* here                                  */
} lsnni_mpi;

static lsnni_mpi *lsnni_mpi_of(lsnn_ctx *cx) { return (lsnni_mpi *)(void *)cx->carrier_; }

static lsnn_status lsnni_mpi_answer(lsnn_ctx *cx, int code, const char *call)
{
    if (code == MPI_SUCCESS) return LSNN_OK;             /* if the program told MPI to return */
    return lsnni_fail(cx, LSNN_EIO, "%s failed with code %d", call, code);
}

static lsnn_status lsnni_mpi_reduce(lsnn_ctx *cx, double *v, int count, MPI_Op op)
{
    return lsnni_mpi_answer(cx, MPI_Allreduce(MPI_IN_PLACE, v, count, MPI_DOUBLE, op,
                                              lsnni_mpi_of(cx)->sums), "MPI_Allreduce");
}

static lsnn_status lsnni_mpi_sum(lsnn_ctx *cx, double *v, int count)
{
    return lsnni_mpi_reduce(cx, v, count, MPI_SUM);
}
static lsnn_status lsnni_mpi_most(lsnn_ctx *cx, double *v, int count)
{
    return lsnni_mpi_reduce(cx, v, count, MPI_MAX);
}

static lsnn_status lsnni_mpi_tell(lsnn_ctx *cx, void *v, int bytes, int from)
{
    return lsnni_mpi_answer(cx, MPI_Bcast(v, bytes, MPI_BYTE, from, lsnni_mpi_of(cx)->sums),
                            "MPI_Bcast");
}

static lsnn_status lsnni_mpi_begin(lsnn_ctx *cx, lsnn_real *v, int count)
{
    lsnni_mpi *m = lsnni_mpi_of(cx);
    return lsnni_mpi_answer(cx, MPI_Iallreduce(MPI_IN_PLACE, v, count, LSNNI_MPI_REAL, MPI_SUM,
                                               m->gradients, &m->request[m->requests++]),
                            "MPI_Iallreduce");
}

static lsnn_status lsnni_mpi_move(lsnn_ctx *cx)
{
    lsnni_mpi *m = lsnni_mpi_of(cx);
    int done;
    return lsnni_mpi_answer(cx, MPI_Testall(m->requests, m->request, &done, m->status),
                            "MPI_Testall");
}

static lsnn_status lsnni_mpi_finish(lsnn_ctx *cx)
{
    lsnni_mpi *m = lsnni_mpi_of(cx);
    int code = MPI_Waitall(m->requests, m->request, m->status);
    m->requests = 0;
    return lsnni_mpi_answer(cx, code, "MPI_Waitall");
}

/* 1 if all ranks come to their end within some seconds.                      */
static int lsnni_mpi_all_end(lsnni_mpi *m)
{
    double last = lsnni_seconds() + 5;
    int done = 0;
    MPI_Ibarrier(m->sums, &m->ending);
    while (!done && lsnni_seconds() < last) MPI_Test(&m->ending, &done, MPI_STATUS_IGNORE);
    return done;
}

/* A rank that failed where the others did not must not leave them waiting for it. */
static void lsnni_mpi_end(lsnn_ctx *cx)
{
    lsnni_mpi *m = lsnni_mpi_of(cx);
    int alone = cx->status != LSNN_OK && cx->agreed_ != cx->failures_;
    if (alone && cx->ranks > 1 && !lsnni_mpi_all_end(m)) {
        lsnni_fail(cx, cx->status, "this rank ends, others do not: the job is ended");
        MPI_Abort(m->sums, 1);
    }
    MPI_Comm_free(&m->sums);
    MPI_Comm_free(&m->gradients);
    if (m->initialised) MPI_Finalize();
    lsnni_free(cx, m);
}

/* Ranks of one machine divide its cores, unless mpirun has: it says so by where a rank may
   run.                                                                       */
static int lsnni_mpi_threads(lsnn_ctx *cx, MPI_Comm all)
{
    MPI_Comm here;
    int ranks = 1, mine = lsnn_ctx_threads(cx);
    double cores = mine, fewest;
    MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, cx->rank, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &ranks);
    MPI_Comm_free(&here);
#ifdef _SC_NPROCESSORS_ONLN
    cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    fewest = LSNNI_MIN((double)mine, floor(cores / ranks));
    return (int)LSNNI_MAX(1, fewest);
}

LSNN_API lsnn_status lsnn_ranks_start(lsnn_ctx *cx)
{
    static const lsnni_carrier mpi = { lsnni_mpi_sum, lsnni_mpi_most, lsnni_mpi_tell,
        lsnni_mpi_begin, lsnni_mpi_move, lsnni_mpi_finish, lsnni_mpi_end };
    int up = 0, level;
    lsnni_mpi *m;
    if (cx->ranks) return lsnni_fail(cx, LSNN_ESTATE, "lsnn_ranks_start: it has started");
    m = (lsnni_mpi *)lsnni_alloc(cx, 1, sizeof *m);
    if (!m) return LSNN_ENOMEM;
    m->c = mpi;
    MPI_Initialized(&up);
    if (!up) MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    m->initialised = !up;
    MPI_Comm_dup(MPI_COMM_WORLD, &m->sums);
    MPI_Comm_dup(MPI_COMM_WORLD, &m->gradients);
    MPI_Comm_rank(m->sums, &cx->rank);
    MPI_Comm_size(m->sums, &cx->ranks);
    if (cx->threads == 0) cx->threads = lsnni_mpi_threads(cx, m->sums);
    cx->carrier_ = &m->c;
    return LSNN_OK;
}
