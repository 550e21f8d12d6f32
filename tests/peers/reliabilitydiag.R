# Figures of reliabilitydiag: Rscript tests/peers/reliabilitydiag.R predictions.csv SOURCE > reliabilitydiag.csv
#
# SOURCE is a folder with the package's source. Its files are loaded as they are, without installing: two of its imports
# (bde, ggExtra) serve only asymptotic bands and the plot, which are not asked for here.
given <- commandArgs(trailingOnly = TRUE)
table <- utils::read.csv(given[1])
`%>%` <- magrittr::`%>%`
.data <- rlang::.data
autoplot <- ggplot2::autoplot
autolayer <- ggplot2::autolayer
for (file in list.files(file.path(given[2], "R"), full.names = TRUE)) source(file)

logarithmic <- function(y, x) -ifelse(y == 1, log(x), log1p(-x))
put <- function(...) cat(paste0(paste(..., sep = ","), "\n"))
number <- function(v) sprintf("%.17g", v)

put("model", "what", "place", "value")
put("", "R", "", paste(R.version$major, R.version$minor, sep = "."))
put("", "reliabilitydiag", "", read.dcf(file.path(given[2], "DESCRIPTION"))[, "Version"])
for (model in setdiff(names(table), "y")) {
  set.seed(1)
  found <- reliabilitydiag(table[[model]], y = table$y, xtype = "continuous",
                           region.method = "resampling", n.boot = 4000)
  names(found) <- model
  for (score in c("log", "brier")) {
    parts <- summary(found, score = if (score == "log") logarithmic else brier)
    for (name in names(parts)[-1]) put(model, paste(score, name), "", number(parts[[name]]))
  }
  bins <- found[[model]]$bins
  for (k in seq_len(nrow(bins))) {
    for (name in c("n", "x_min", "x_max", "CEP_pav")) put(model, name, k, number(bins[[name]][k]))
  }
  regions <- found[[model]]$regions
  for (k in seq(1, nrow(regions), by = 10)) { # every tenth is enough to compare
    for (name in c("lower", "upper")) put(model, name, number(regions$x[k]), number(regions[[name]][k]))
  }
  put(model, "miscalibration p", "", number(miscalibration_test(found)$pvalue))
}
