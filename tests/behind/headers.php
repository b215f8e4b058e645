<?php
// What headers PHP makes of a request.
header('Content-Type: application/json');
$seen = array_filter($_SERVER, fn($name) => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY);
echo json_encode($seen, JSON_THROW_ON_ERROR);
