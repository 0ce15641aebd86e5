#include "pg/pg_params.h"
