#include "pg/pg_plan.h"
