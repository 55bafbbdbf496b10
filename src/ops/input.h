/* ---- >>input: where the batch's images enter --------------------------------------
   The first node of every net; its output is the caller's own array.         */
static lsnn_status lsnni_plan_input(lsnn_ctx *cx, lsnn_layer_plan *p)
{
    (void)cx;
    p->out = p->in[0];               /* set by lsnn_input                     */
    return LSNN_OK;
}

static const lsnn_layer_type lsnni_input_type = {
    "input", "", 0, 0, LSNN_X_FREE, lsnni_plan_input, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL
};
