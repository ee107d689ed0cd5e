"""What a recipe is held against beyond its own shape, by the floors that know it.

Recipes stand below the tasks, and which task names there are and which metrics each has only the tasks know. So the
checks stand here by name and are looked up when a recipe is read: a task brings its checks along, no recipe with a slip
is read as a good one, and no import points up.
"""

from __future__ import annotations

# Returns the names that ``task`` can take.
TASK_NAMES = "modelport.tasks.table:task_names"
# Returns what a recipe of a task tolerates where it does not tell it, as the table's keys.
TOLERANCE_OF = "modelport.tasks.table:tolerance_of"
# Returns the names that ``dataset.kind`` can be.
KIND_NAMES = "modelport.data.sets.table:kind_names"
# Returns what the labels of a kind can be; none where it has none.
FORMS_OF_KIND = "modelport.data.sets.table:forms_of"
# Returns what a task takes for labels.
FORM_OF_TASK = "modelport.tasks.table:label_form"
# Each takes a recipe and raises ValueError where it is not sound.
CHECKS = ("modelport.tasks.table:check_recipe",)
